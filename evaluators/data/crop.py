"""Random crops of training images, by random numbers that never change.

An area and an aspect ratio are drawn, as in "Going Deeper with Convolutions" (Szegedy et al.
2015), which is how ImageNet networks are trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels."""

_ASPECTS = (3 / 4, 4 / 3)
_TRIES = 10
_DRAWS = 2 * _TRIES + 2
_CROPS = 2
"""Number of this use of the seed; other uses of it have other ones."""


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """Which part of an image one epoch shows.

    Attributes:
        scale: smallest share of the area, above 0 and at most 1; the largest is 1.
        seed: of the training run.
        epoch: number of the epoch.
        row: of the image, so that neither order nor threads change what is drawn.
    """

    scale: float
    seed: int
    epoch: int
    row: int

    def box(self, width: int, height: int) -> Box:
        """Part of an image of this size; the largest center one of an allowed aspect at worst."""
        draws = self._uniform()
        for _ in range(_TRIES):
            area = width * height * (self.scale + (1 - self.scale) * next(draws))
            low, high = map(math.log, _ASPECTS)
            aspect = math.exp(low + (high - low) * next(draws))
            wide, tall = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < wide <= width and 0 < tall <= height:
                left = int(next(draws) * (width - wide + 1))
                top = int(next(draws) * (height - tall + 1))
                return left, top, left + wide, top + tall
        wide = min(width, height * _ASPECTS[1])
        tall = min(height, width / _ASPECTS[0])
        left, top = (width - wide) / 2, (height - tall) / 2
        return left, top, left + wide, top + tall

    def _uniform(self) -> Iterator[float]:
        # Raw numbers of PCG64 are fixed for good; numpy may change what Generator makes of them.
        source = np.random.PCG64(np.random.SeedSequence((self.seed, self.epoch, _CROPS, self.row)))
        return iter((source.random_raw(_DRAWS) * 2.0**-64).tolist())
