"""The step of integer weights: what one code stands for.

The rules, by their names among the options of surgery: `importance` (the squared error is
weighed by the second moments of the inputs), `mse` (all numbers alike), `max` (nothing is
clipped), `percentile` (the largest 0.1 % are clipped; numbers that were pruned away do not count).
One step serves a row, or the whole tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Shares of the largest magnitude that are tried as clipping point. At 2 to 4 bits the largest
# weight of a row is an outlier that wastes levels; the grid's best squared error is kept.
_CLIPS = tuple(1.0 - 0.04 * step for step in range(18))

PERCENTILE = 0.999
"""Share of the magnitudes that the rule `percentile` does not clip."""


@dataclass(frozen=True, slots=True)
class ScaleRule:
    """How the steps of a weight are found.

    Attributes:
        name: `importance` and `mse` try clipping points and keep the one with the smallest
            squared error; they differ in the importance that is handed in. `max`, `percentile`.
        per_tensor: whether all rows share one step.
    """

    name: str = "mse"
    per_tensor: bool = False

    @property
    def fixed(self) -> bool:
        """Whether steps stay as the rule finds them, whatever rounding loses by them."""
        return self.per_tensor or self.name in ("max", "percentile")


def nearest_codes(values: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Codes nearest to values: whole numbers up to 2^(bits-1) - 1; -1 and 1 for one bit.

    Args:
        values: [C_out, ...].
        scale: of each row, to be broadcast over them.
        bits: 1..8.
    """
    if bits == 1:
        return torch.where(values >= 0, 1.0, -1.0).to(values)
    limit = largest_code(bits)
    return (values / scale).round().clamp(-limit, limit)


def largest_code(bits: int) -> int:
    """Largest magnitude of a code."""
    return 1 if bits == 1 else 2 ** (bits - 1) - 1


def find_scales(
    rows: Tensor, bits: int, rule: ScaleRule, importance: Tensor, kept: Tensor | None = None
) -> Tensor:
    """Scales [C_out].

    One bit knows no clipping: its scale is the mean magnitude, weighed by the importance, which
    is where the weighed squared error is smallest.

    Args:
        rows: weights, [C_out, D].
        bits: 1..8.
        rule: how.
        importance: of the D numbers of a row.
        kept: bool [C_out, D], which numbers were not pruned away; None: all.
    """
    if bits == 1:
        return _mean_magnitudes(rows, rule, importance, kept)
    limit = largest_code(bits)
    largest = _largest(rows, rule, kept)
    # A silent row keeps a scale of one: its codes are all zero.
    largest = torch.where(largest > 0, largest, torch.full_like(largest, limit))
    if rule.name in ("max", "percentile"):
        return largest / limit

    def error(scale: Tensor) -> Tensor:
        found = (nearest_codes(rows, scale[:, None], bits) * scale[:, None] - rows).square()
        errors = (found * importance).sum(1)
        return errors.sum().expand_as(errors) if rule.per_tensor else errors

    return _best_clip(largest, limit, error)


def _best_clip(largest: Tensor, limit: int, error: Callable[[Tensor], Tensor]) -> Tensor:
    best = largest / limit
    smallest = error(best)
    for clip in _CLIPS[1:]:
        scale = largest * clip / limit
        found = error(scale)
        better = found < smallest
        best = torch.where(better, scale, best)
        smallest = torch.where(better, found, smallest)
    return best


def _largest(rows: Tensor, rule: ScaleRule, kept: Tensor | None) -> Tensor:
    """Largest magnitude [C_out] that is not clipped, before clipping points are tried."""
    magnitudes = rows.abs()
    if rule.name == "percentile":
        if kept is not None:
            magnitudes = magnitudes.masked_fill(~kept, torch.nan)
        groups = magnitudes.reshape(1, -1) if rule.per_tensor else magnitudes
        # torch.nanquantile refuses more than 2^24 numbers.
        found = [_quantile(group) for group in groups]
        return torch.stack(found).expand(len(rows)).contiguous()
    largest = magnitudes.amax(1)
    return largest.amax().expand_as(largest).contiguous() if rule.per_tensor else largest


def _quantile(magnitudes: Tensor) -> Tensor:
    """The `PERCENTILE` of what is not NaN, interpolated linearly; 0 of nothing."""
    ordered = magnitudes[~magnitudes.isnan()].sort().values
    if not len(ordered):
        return magnitudes.new_zeros(())
    place = PERCENTILE * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return torch.lerp(ordered[low], ordered[high], place - low)


def _mean_magnitudes(
    rows: Tensor, rule: ScaleRule, importance: Tensor, kept: Tensor | None
) -> Tensor:
    weighing = importance.expand_as(rows)
    # Inputs that never fire have no importance: then all numbers count alike.
    weighing = torch.where(weighing.sum(1, keepdim=True) > 0, weighing, torch.ones_like(rows))
    if kept is not None:
        weighing = weighing * kept
    sums, counts = (rows.abs() * weighing).sum(1), weighing.sum(1)
    if rule.per_tensor:
        sums, counts = sums.sum().expand_as(sums), counts.sum().expand_as(counts)
    return torch.where(counts > 0, sums / counts, torch.zeros_like(sums))
