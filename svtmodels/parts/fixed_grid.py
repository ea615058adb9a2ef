"""The grid of fixed-point arithmetic: currents, biases, thresholds and membranes are integers.

Every number is a whole multiple of 2^-12 in 24 bits of two's complement, kept as the float that
equals it: float32 holds them, and the difference of any two, exactly. Whatever leaves the grid is
rounded to it half to even and saturates.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .synapse import round_through

FRACTION_BITS = 12
STEPS = 2**FRACTION_BITS
"""Steps of the grid per unit."""
CURRENT_BITS = 24
_BLOCK = 2**15
"""Numbers that are worked on at once, so that what lies between stays in the cache."""
LOWEST, HIGHEST = -(2 ** (CURRENT_BITS - 1)), 2 ** (CURRENT_BITS - 1) - 1
"""Of currents, biases and membranes, in steps: they saturate at -2,048 and just below 2,048."""


def to_grid(x: Tensor) -> Tensor:
    """Nearest numbers of the grid, [...]; gradients pass the rounding, not the saturation."""
    return by_rows(lambda rows: from_steps(round_through(rows * STEPS)), x)


def from_steps(steps: Tensor) -> Tensor:
    """What whole numbers of steps [...] stand for, saturated."""
    return steps.clamp(LOWEST, HIGHEST) * (1 / STEPS)


def by_rows(move: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What a function of rows [M, C] to rows gives for x [..., C], block by block."""
    if x.requires_grad:
        return move(x)
    rows = x.reshape(-1, x.shape[-1])
    moved, length = torch.empty_like(rows), max(_BLOCK // rows.shape[-1], 1)
    for block, place in zip(rows.split(length), moved.split(length), strict=True):
        place.copy_(move(block))
    return moved.reshape(x.shape)
