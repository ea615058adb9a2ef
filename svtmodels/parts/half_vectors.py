"""Vectors of float16 numbers, all of them times one power of two.

Eight-bit synapses that read an image have scales down to 2e-6, where float16 by itself keeps 5
bits; times a power of two it keeps all 11. Within a synapse scales differ by a factor of at most
50, biases by 4e4 (trained networks of the zoo at 1, 3 and 8 bits); the power serves 2^28.
"""

from __future__ import annotations

import math

from torch import Tensor

HALF = "float16"
"""Among `ALLOWED["vectors"]`."""

_BITS = 15
"""The largest magnitude of a vector lies below 2^15 and is at least half of that: as large as
float16 holds it after rounding up, so that small numbers of the vector stay normal ones."""
_SMALLEST = -125
"""Float32 holds all multiples of 2^-149, float16 those of 2^-24."""


def exponent_of(vector: Tensor) -> int:
    """Exponent of the power of two that all numbers of a vector are stored as multiples of.

    It is the same before and after `rounded`; 0 of zeros and of what is not finite.
    """
    largest = float(vector.abs().max()) if vector.numel() else 0.0
    if not 0 < largest < math.inf:
        return 0
    exponent = max(math.frexp(largest)[1] - _BITS, _SMALLEST)
    # Rounding may carry into one bit more.
    carries = bool(numbers_of(vector, exponent).abs().max() >= 2**_BITS)
    return exponent + carries


def numbers_of(vector: Tensor, exponent: int) -> Tensor:
    """Float16 numbers nearest to a vector without its power of two."""
    return (vector.double() * 2.0**-exponent).half()


def widened(numbers: Tensor, exponent: int) -> Tensor:
    """Float32 vector of float16 numbers times a power of two; exact."""
    return (numbers.double() * 2.0**exponent).float()


def rounded(vector: Tensor) -> Tensor:
    """The nearest vector that float16 numbers times one power of two hold exactly.

    Of the vector's own type. What was rounded before stays the same.
    """
    exponent = exponent_of(vector)
    return widened(numbers_of(vector, exponent), exponent).to(vector.dtype)
