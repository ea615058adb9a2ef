"""Vectors in fewer bytes than float32: numbers of a shorter type, all of them times one unit.

`float16`: the unit is a power of two. Eight-bit synapses that read an image have scales down to
2e-6, where float16 by itself keeps 5 bits; times a power of two it keeps all 11. Within a synapse
scales differ by a factor of at most 50, biases by 4e4 (trained networks of the zoo at 1, 3 and 8
bits); the power serves 2^28.

`int8`: whole numbers up to 127. All neurons behind a synapse have one threshold, so what counts is
the absolute error of a row, and that is the same for large and small numbers. The unit has 16
significant bits: every product is a float32 number, whoever computes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_BITS = 15
"""The largest magnitude of a float16 vector lies below 2^15 and is at least half of that: as large
as float16 holds it after rounding up, so that small numbers of the vector stay normal ones."""
_SMALLEST = -125
"""Float32 holds all multiples of 2^-149, float16 those of 2^-24."""
_MOST = 127
_UNIT_BITS = 16
_LEAST_UNIT = 2.0**-126
"""Float32 has no full precision below; vectors of such numbers are zeros."""


@dataclass(frozen=True, slots=True)
class ShortType:
    """A type of numbers and how their unit is found.

    Attributes:
        dtype: of the numbers.
        unit_of: unit of a vector; the same before and after it is rounded.
    """

    dtype: torch.dtype
    unit_of: Callable[[Tensor], float]

    def numbers_of(self, vector: Tensor, unit: float) -> Tensor:
        """Numbers nearest to a vector without its unit."""
        numbers = vector.double() / unit
        return (numbers if self.dtype.is_floating_point else numbers.round()).to(self.dtype)

    def rounded(self, vector: Tensor) -> Tensor:
        """The nearest vector that such numbers hold exactly, of the vector's own type.

        What was rounded before stays the same, and so does what is not finite.
        """
        if not bool(vector.isfinite().all()):
            return vector
        unit = self.unit_of(vector)
        return widened(self.numbers_of(vector, unit), unit).to(vector.dtype)


def widened(numbers: Tensor, unit: float) -> Tensor:
    """Float32 vector of numbers times their unit; exact."""
    return (numbers.double() * unit).float()


def _half_unit(vector: Tensor) -> float:
    largest = _largest(vector)
    if not 0 < largest < math.inf:
        return 1.0
    unit = 2.0 ** max(math.frexp(largest)[1] - _BITS, _SMALLEST)
    # Rounding may carry into one bit more.
    carries = float((vector.double() / unit).half().abs().max()) >= 2**_BITS
    return 2 * unit if carries else unit


def _byte_unit(vector: Tensor) -> float:
    largest = _largest(vector)
    if not _MOST * _LEAST_UNIT < largest < math.inf:
        return 1.0
    mantissa, exponent = math.frexp(largest / _MOST)
    return math.ldexp(round(math.ldexp(mantissa, _UNIT_BITS)), exponent - _UNIT_BITS)


def _largest(vector: Tensor) -> float:
    return float(vector.abs().max()) if vector.numel() else 0.0


SHORT_TYPES: Mapping[str, ShortType] = {
    "float16": ShortType(torch.float16, _half_unit),
    "int8": ShortType(torch.int8, _byte_unit),
}
"""By name among `ALLOWED["vectors"]`; float32 needs no unit."""
