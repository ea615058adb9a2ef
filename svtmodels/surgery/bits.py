"""Weights as integers, symmetric; the scale of each output channel carries the batch norm."""

from __future__ import annotations

import torch
from torch import Tensor

from .least_squares import rounding_factor
from .scales import ScaleRule, find_scales, nearest_codes

_BLOCK = 64
"""Columns that are rounded before the rest is updated."""

_PLAIN = ScaleRule()


def quantise(
    weight: Tensor,
    bits: int,
    products: Tensor | None = None,
    importance: Tensor | None = None,
    rule: ScaleRule = _PLAIN,
    kept: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Integer codes and scales of a weight.

    Rounded to nearest without `products`. With them, column by column, and the rounding error of
    each is spread over those not yet rounded (GPTQ, arXiv 2210.17323; methods 10).

    Args:
        weight: float [C_out, ...].
        bits: 1..8; codes lie in -(2^(bits-1) - 1) .. 2^(bits-1) - 1, those of one bit are -1
            and 1.
        products: second moments of its input, [D, D], D the numbers of a row.
        importance: of the numbers of a row for its scale, [D]; None: all alike.
        rule: how scales are found.
        kept: bool of the weight's shape, which numbers were not pruned away: the codes of all
            others are zero. None: all.

    Returns:
        Codes int8 of the weight's shape, scales [C_out] of its dtype: ``codes * scale ~ weight``.
    """
    rows = weight.flatten(1)
    mask = None if kept is None else kept.flatten(1)
    weighing = torch.ones_like(rows[0]) if importance is None else importance.to(rows)
    scale = find_scales(rows, bits, rule, weighing, mask)
    if products is not None:
        rounded = _compensated(rows, scale, bits, products, mask)
    else:
        rounded = nearest_codes(rows, scale[:, None], bits)
        rounded = rounded if mask is None else rounded * mask
    return rounded.to(torch.int8).reshape(weight.shape), scale


def _compensated(
    rows: Tensor, scale: Tensor, bits: int, products: Tensor, kept: Tensor | None
) -> Tensor:
    order, factor = rounding_factor(products)
    left = rows.double()[:, order]
    mask = None if kept is None else kept[:, order]
    rounded = torch.empty_like(left)
    steps = scale.double()
    for start in range(0, left.shape[1], _BLOCK):
        block = slice(start, min(start + _BLOCK, left.shape[1]))
        errors = torch.empty_like(left[:, block])
        for column in range(block.start, block.stop):
            now = left[:, column]
            codes = nearest_codes(now, steps, bits)
            # What is spread to a pruned number is passed on to those behind it.
            rounded[:, column] = codes if mask is None else codes * mask[:, column]
            error = (now - rounded[:, column] * steps) / factor[column, column]
            left[:, column : block.stop].addr_(error, factor[column, column : block.stop], alpha=-1)
            errors[:, column - start] = error
        # Columns behind the block get all of its errors at once: one product instead of many.
        left[:, block.stop :].addmm_(errors, factor[block, block.stop :], alpha=-1)
    back = torch.empty_like(rounded)
    back[:, order] = rounded
    return back
