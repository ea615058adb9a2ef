"""Weights as integers: symmetric, per output channel, after folding the batch norm."""

from __future__ import annotations

import torch
from torch import Tensor

# Shares of the largest magnitude that are tried as clipping point. At 2 to 4 bits the largest
# weight of a row is an outlier that wastes levels; the grid's best squared error is kept.
_CLIPS = tuple(1.0 - 0.04 * step for step in range(18))


def quantise(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Integer codes and scales of a weight, rounded to nearest.

    Args:
        weight: float [C_out, ...], batch norm folded in.
        bits: 2..8; codes lie in -(2^(bits-1) - 1) .. 2^(bits-1) - 1.

    Returns:
        Codes int8 of the weight's shape, scales [C_out] of its dtype: ``codes * scale ~ weight``.
    """
    limit = 2 ** (bits - 1) - 1
    rows = weight.flatten(1)
    largest = rows.abs().amax(1)
    # A silent row keeps a scale of one: its codes are all zero.
    largest = torch.where(largest > 0, largest, torch.full_like(largest, limit))
    best_scale = largest / limit
    best_error = _error(rows, best_scale, limit)
    for clip in _CLIPS[1:]:
        scale = largest * clip / limit
        error = _error(rows, scale, limit)
        better = error < best_error
        best_scale = torch.where(better, scale, best_scale)
        best_error = torch.where(better, error, best_error)
    codes = _round(rows, best_scale, limit).to(torch.int8)
    return codes.reshape(weight.shape), best_scale


def _round(rows: Tensor, scale: Tensor, limit: int) -> Tensor:
    return (rows / scale[:, None]).round().clamp(-limit, limit)


def _error(rows: Tensor, scale: Tensor, limit: int) -> Tensor:
    return (_round(rows, scale, limit) * scale[:, None] - rows).square().sum(1)
