"""Weights as integers: symmetric, per output channel, after folding the batch norm."""

from __future__ import annotations

import torch
from torch import Tensor

from .least_squares import rounding_factor

# Shares of the largest magnitude that are tried as clipping point. At 2 to 4 bits the largest
# weight of a row is an outlier that wastes levels; the grid's best squared error is kept.
_CLIPS = tuple(1.0 - 0.04 * step for step in range(18))

_BLOCK = 64
"""Columns that are rounded before the rest is updated."""


def quantise(
    weight: Tensor,
    bits: int,
    products: Tensor | None = None,
    importance: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Integer codes and scales of a weight.

    Rounded to nearest without `products`. With them, column by column, and the rounding error of
    each is spread over those not yet rounded (GPTQ, arXiv 2210.17323; methods 10).

    Args:
        weight: float [C_out, ...], batch norm folded in.
        bits: 2..8; codes lie in -(2^(bits-1) - 1) .. 2^(bits-1) - 1.
        products: second moments of its input, [D, D], D the numbers of a row.
        importance: of the numbers of a row for its scale, [D]; None: all alike.

    Returns:
        Codes int8 of the weight's shape, scales [C_out] of its dtype: ``codes * scale ~ weight``.
    """
    limit = 2 ** (bits - 1) - 1
    rows = weight.flatten(1)
    weighing = torch.ones_like(rows[0]) if importance is None else importance.to(rows)
    scale = _scales(rows, limit, weighing)
    rounded = _round(rows, scale, limit)
    if products is not None:
        rounded = _compensated(rows, scale, limit, products)
    return rounded.to(torch.int8).reshape(weight.shape), scale


def _scales(rows: Tensor, limit: int, importance: Tensor) -> Tensor:
    """Scale [C_out] whose squared errors, weighted per column, are smallest."""
    largest = rows.abs().amax(1)
    # A silent row keeps a scale of one: its codes are all zero.
    largest = torch.where(largest > 0, largest, torch.full_like(largest, limit))
    best_scale = largest / limit
    best_error = _error(rows, best_scale, limit, importance)
    for clip in _CLIPS[1:]:
        scale = largest * clip / limit
        error = _error(rows, scale, limit, importance)
        better = error < best_error
        best_scale = torch.where(better, scale, best_scale)
        best_error = torch.where(better, error, best_error)
    return best_scale


def _compensated(rows: Tensor, scale: Tensor, limit: int, products: Tensor) -> Tensor:
    order, factor = rounding_factor(products)
    left = rows.double()[:, order]
    rounded = torch.empty_like(left)
    steps = scale.double()
    for start in range(0, left.shape[1], _BLOCK):
        block = slice(start, min(start + _BLOCK, left.shape[1]))
        errors = torch.empty_like(left[:, block])
        for column in range(block.start, block.stop):
            now = left[:, column]
            rounded[:, column] = (now / steps).round().clamp(-limit, limit)
            error = (now - rounded[:, column] * steps) / factor[column, column]
            left[:, column : block.stop].addr_(error, factor[column, column : block.stop], alpha=-1)
            errors[:, column - start] = error
        # Columns behind the block get all of its errors at once: one product instead of many.
        left[:, block.stop :].addmm_(errors, factor[block, block.stop :], alpha=-1)
    back = torch.empty_like(rounded)
    back[:, order] = rounded
    return back


def _round(rows: Tensor, scale: Tensor, limit: int) -> Tensor:
    return (rows / scale[:, None]).round().clamp(-limit, limit)


def _error(rows: Tensor, scale: Tensor, limit: int, importance: Tensor) -> Tensor:
    errors = (_round(rows, scale, limit) * scale[:, None] - rows).square()
    return (errors * importance).sum(1)
