"""Which of many points is worth an evaluation: expected gain of hypervolume, times its chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...hypervolume import hypervolume

Floats = NDArray[np.float64]

_LOOKS = 400
"""Volumes that are computed for one choice, at most."""


class Worth:
    """Gain of points over a front.

    Args:
        front: losses of its members, [F, M]; all are minimised.
        reference: [M].
    """

    def __init__(self, front: Floats, reference: Floats) -> None:
        self._front = front
        self._reference = reference
        self._volume = self._of(front)

    def best(self, losses: Floats, chances: Floats) -> int | None:
        """Number of the point with the largest expected gain; None if none gains anything.

        Args:
            losses: expected, [N, M].
            chances: that the point is feasible, [N].
        """
        bounds = chances * np.maximum(self._reference - losses, 0).prod(axis=1)
        # The volume of a point alone bounds its gain: most need no closer look.
        order = np.argsort(-bounds, kind="stable")
        best, most, looked = None, 0.0, 0
        for number in order.tolist():
            if bounds[number] <= most or looked >= _LOOKS:
                break
            if self._dominated(losses[number]):
                continue
            looked += 1
            grown = self._of(np.vstack([self._front, losses[number]]))
            gain = float(chances[number]) * (grown - self._volume)
            if gain > most:
                best, most = number, gain
        return best

    def _dominated(self, loss: Floats) -> bool:
        return bool(len(self._front) and (self._front <= loss).all(axis=1).any())

    def _of(self, losses: Floats) -> float:
        return hypervolume(losses, self._reference)
