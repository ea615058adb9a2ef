"""Weights as integers, symmetric; the scale of each output channel carries the batch norm."""

from __future__ import annotations

import torch
from torch import Tensor

from .rounding import compensated, refined
from .scales import ScaleRule, find_scales, nearest_codes

_PLAIN = ScaleRule()


def quantise(
    weight: Tensor,
    bits: int,
    products: Tensor | None = None,
    importance: Tensor | None = None,
    rule: ScaleRule = _PLAIN,
    kept: Tensor | None = None,
    *,
    refine: bool = True,
) -> tuple[Tensor, Tensor]:
    """Integer codes and scales of a weight.

    Rounded to nearest without `products`. With them rounding errors are made up for (`rounding`).

    Args:
        weight: float [C_out, ...].
        bits: 1..8; codes lie in -(2^(bits-1) - 1) .. 2^(bits-1) - 1, those of one bit are -1
            and 1.
        products: second moments of its input, [D, D], D the numbers of a row.
        importance: of the numbers of a row for its scale, [D]; None: all alike.
        rule: how scales are found.
        kept: bool of the weight's shape, which numbers were not pruned away: the codes of all
            others are zero. None: all.
        refine: whether codes and, unless the rule says how they are to be, steps are refined once
            they are compensated.

    Returns:
        Codes int8 of the weight's shape, scales [C_out] of its dtype: ``codes * scale ~ weight``.
    """
    rows = weight.flatten(1)
    mask = None if kept is None else kept.flatten(1)
    weighing = torch.ones_like(rows[0]) if importance is None else importance.to(rows)
    scale = find_scales(rows, bits, rule, weighing, mask)
    if products is None:
        rounded = nearest_codes(rows, scale[:, None], bits)
        rounded = rounded if mask is None else rounded * mask
    elif refine:
        rounded, steps = refined(rows, scale, bits, products, mask, fixed=rule.fixed)
        scale = steps.to(scale.dtype)
    else:
        rounded = compensated(rows, scale, bits, products, mask)
    return rounded.to(torch.int8).reshape(weight.shape), scale
