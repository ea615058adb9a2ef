"""A quantised synapse in fixed-point arithmetic: an integer-only board gives the same bits."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor

from .fixed_grid import STEPS, by_rows, from_steps, to_grid
from .synapse import QuantisedSynapse, round_through

MANTISSA_BITS = 16
_LARGEST_MANTISSA = 2 ** (MANTISSA_BITS - 1) - 1
_LARGEST_SHIFT = 62
"""Of a 64-bit product. Scales that small give no current at all."""


class FixedSynapse(QuantisedSynapse):
    """``y = sat(rint(acc * mantissa / 2^(shift - 12)) + bias)`` in steps of 2^-12.

    ``scale = mantissa / 2^shift`` with an int16 mantissa per output channel and one shift per
    synapse; the bias is on the grid; rint rounds half to even. The product of an int32 and an
    int16 has at most 47 bits, so float64 holds it exactly, where float32 would round what an
    integer board does not. Scale and bias are kept as the floats that equal them.
    """

    @classmethod
    def of(cls, synapse: QuantisedSynapse) -> Self:
        """A quantised synapse with scale and bias moved to the nearest they can be.

        One that is in fixed point already comes back the same.
        """
        fixed = cls(
            synapse.codes,
            _nearest_scale(synapse.scale),
            to_grid(synapse.bias),
            bits=synapse.bits,
            grid=synapse.grid,
            max_input=synapse.max_input,
            **synapse.window,
        )
        return fixed.train(synapse.training)

    @property
    def shift(self) -> int:
        """Bits that the products with the mantissas are too long by, against a unit of 1."""
        return _shift_of(self.scale)

    def _affine(self, acc: Tensor, dtype: torch.dtype) -> Tensor:
        scales, biases = self.scale.double() * STEPS, self.bias.double() * STEPS
        return by_rows(
            lambda sums: from_steps(round_through(sums.double() * scales) + biases), acc
        ).to(dtype)


def _shift_of(scale: Tensor) -> int:
    """Largest shift with which the largest scale's mantissa fits."""
    largest = float(scale.abs().max()) if scale.numel() else 0.0
    if largest == 0:
        return _LARGEST_SHIFT
    shift = MANTISSA_BITS - 1 - math.frexp(largest)[1]
    # Rounding may carry into one bit more.
    if round(math.ldexp(largest, shift)) > _LARGEST_MANTISSA:
        shift -= 1
    return min(shift, _LARGEST_SHIFT)


def _nearest_scale(scale: Tensor) -> Tensor:
    shift = _shift_of(scale)
    return ((scale.double() * 2.0**shift).round() / 2.0**shift).to(scale.dtype)
