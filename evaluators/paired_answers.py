"""On which images a candidate and the trained network answered differently, as a short record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compact import from_text, to_text

_BITS = 2
_UNSEEN, _SAME, _WORSE, _BETTER = range(4)
_CODES = np.array([_BETTER, _SAME, _WORSE], np.uint8)
"""By difference + 1."""


@dataclass(frozen=True, slots=True)
class PairedAnswers:
    """What became of every search image: 2 bits each, a third of a byte per image as text.

    Attributes:
        images: number of search images, seen or not.
        codes: packed; use the properties.
    """

    images: int
    codes: str

    @classmethod
    def of(cls, differences: NDArray[np.int64], seen: NDArray[np.int64]) -> PairedAnswers:
        """Record of an evaluation.

        Args:
            differences: trained network is right minus candidate is right, per search image [N];
                of those not seen, anything from -1 to 1.
            seen: numbers of the images that count, each from 0 to N - 1.
        """
        codes = np.full(len(differences), _UNSEEN, np.uint8)
        codes[seen] = _CODES[differences[seen] + 1]
        return cls(len(codes), to_text(codes, _BITS))

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which images the candidate was asked, [N]."""
        return self._unpacked() != _UNSEEN

    @property
    def worse(self) -> NDArray[np.bool_]:
        """Where the trained network is right and the candidate wrong, [N]."""
        return self._unpacked() == _WORSE

    @property
    def better(self) -> NDArray[np.bool_]:
        """Where the trained network is wrong and the candidate right, [N]."""
        return self._unpacked() == _BETTER

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; `from_dict` gives an equal one back."""
        return {"images": self.images, "codes": self.codes}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PairedAnswers:
        """Record from `to_dict`."""
        return cls(int(data["images"]), str(data["codes"]))

    def _unpacked(self) -> NDArray[np.uint8]:
        return from_text(self.codes, _BITS, self.images)
