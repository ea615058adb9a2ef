"""Single weights that leave a matrix: by magnitude, or with compensation by those that stay.

`magnitude` is L1P of Sun et al. (arXiv 2508.01992; methods 4): the smallest leave, nothing is made
up for. `compensated` is the optimal brain surgeon on single weights, as in SparseGPT
(arXiv 2301.00774), on the moments of spikes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .least_squares import rounding_factor

_BLOCK = 64
"""Columns whose weights are chosen together; SparseGPT takes 128, of layers several times wider."""


def kept_count(numbers: int, percent: int) -> int:
    """How many of so many numbers stay at a density: rounded up."""
    return -(-percent * numbers // 100)


def largest(values: Tensor, count: int) -> Tensor:
    """Bool mask of the `count` largest values; of equal ones the first in raster order stay."""
    order = torch.sort(values.flatten(), descending=True, stable=True).indices
    mask = torch.zeros(values.numel(), dtype=torch.bool)
    mask[order[:count]] = True
    return mask.reshape(values.shape)


def counts_by_one_threshold(
    magnitudes: Mapping[str, Tensor], counts: Mapping[str, int]
) -> dict[str, int]:
    """How many numbers stay of each matrix if the largest of all of them together do.

    Args:
        magnitudes: of every matrix, any shape.
        counts: how many would stay of each by its own density; their sum is kept.
    """
    if not counts:
        return {}
    sizes = [magnitudes[name].numel() for name in counts]
    together = torch.cat([magnitudes[name].flatten() for name in counts])
    kept = largest(together, sum(counts.values())).split(sizes)
    return {name: int(mask.sum()) for name, mask in zip(counts, kept, strict=True)}


def pruned_with_compensation(
    rows: Tensor, count: int, products: Tensor, strength: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights of which `count` are not zero, and which those are.

    Column by column in blocks: of a block the weights with the smallest ``w^2 / [H^-1]_jj`` leave,
    and what each did is spread over the columns not yet decided. How many leave of which block is
    settled first, by the same measure over the whole matrix.

    Args:
        rows: [C_out, D].
        count: numbers that stay.
        products: second moments of the input, [D, D].
        strength: what becomes of each row's output behind it (its batch norm's scale), [C_out].

    Returns:
        Weights of the dtype of `rows` and a bool mask, [C_out, D] each.
    """
    order, factor = rounding_factor(products)
    left = rows.double()[:, order]
    # Of the inverse moments of the columns not yet decided, factor[j, j]^2 is the entry (j, j).
    prices = strength.double()[:, None] / factor.diagonal()
    planned = largest((left * prices).square(), count)
    mask = torch.zeros_like(planned)
    for start in range(0, left.shape[1], _BLOCK):
        block = slice(start, min(start + _BLOCK, left.shape[1]))
        scores = (left[:, block] * prices[:, block]).square()
        mask[:, block] = largest(scores, int(planned[:, block].sum()))
        errors = torch.empty_like(left[:, block])
        for column in range(block.start, block.stop):
            gone = left[:, column] * ~mask[:, column] / factor[column, column]
            left[:, column : block.stop].addr_(gone, factor[column, column : block.stop], alpha=-1)
            errors[:, column - start] = gone
        left[:, block.stop :].addmm_(errors, factor[block, block.stop :], alpha=-1)
    back, stays = torch.empty_like(left), torch.empty_like(mask)
    back[:, order] = left * mask
    stays[:, order] = mask
    return back.to(rows.dtype), stays
