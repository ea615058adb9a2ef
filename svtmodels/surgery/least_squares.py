"""Second-order surgery: what leaves is made up for by what stays (methods 10).

All functions minimise ``E |W x - W' x'|^2`` over the input x of a synapse, whose second moments
(or covariance, where a bias can take up the mean) are given as a matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_DAMPING = 0.01
"""Share of the mean diagonal that is added to it (GPTQ, arXiv 2210.17323)."""
_SMALLEST_DAMPING = 1e-12
"""What is added first to moments that are zero but for rounding."""
_SHRINK = 8
"""The matrices are cut down when one in so many of their groups has left."""


def damped(products: Tensor) -> Tensor:
    """Copy with a diagonal that makes it positive definite; inputs that never fire included."""
    level = _DAMPING * products.diagonal().mean()
    level = torch.where(level > 0, level, torch.ones_like(level))
    return products + level * torch.eye(len(products), dtype=products.dtype)


def removal_order(weight: Tensor, products: Tensor, unit: int, heads: int) -> Tensor:
    """Input groups of a synapse in the order in which they leave, the dearest last.

    Optimal brain surgeon on groups: the one leaves whose loss, made up for by all others, is
    smallest; then the rest is updated. The order is nested: one pass serves all widths.

    Args:
        weight: [C_out, D].
        products: second moments of its input, [D, D].
        unit: inputs that leave together; groups are contiguous.
        heads: contiguous parts that lose their groups in turn, so that all keep equally many.

    Returns:
        Group numbers, int64 [D / unit].
    """
    return _leaving([_Reader(weight, products, unit)], weight.shape[1] // unit, heads)


def shared_removal_order(readers: Sequence[tuple[Tensor, Tensor]], count: int) -> Tensor:
    """Channels that several synapses read, in the order in which they leave, the dearest last.

    As `removal_order`; the loss of a channel is the sum over the synapses, each of which makes up
    for it by itself.

    Args:
        readers: weight [C_out, count * k] and second moments of its input, of each synapse; their
            outputs in units in which a change counts alike.
        count: channels.

    Returns:
        Channel numbers, int64 [count].
    """
    parts = [_Reader(weight, products, weight.shape[1] // count) for weight, products in readers]
    return _leaving(parts, count, 1)


def resolved(weight: Tensor, products: Tensor, kept: Tensor) -> Tensor:
    """Weights [C_out, len(kept)] of the kept inputs that come closest to all of them.

    Args:
        weight: [C_out, D].
        products: second moments of its input, [D, D].
        kept: input numbers.
    """
    full = damped(products.double())
    right = full[kept] @ weight.double().T
    factor = _factored(full[kept][:, kept])
    return torch.cholesky_solve(right, factor).T.to(weight.dtype)


def rounding_factor(products: Tensor) -> tuple[Tensor, Tensor]:
    """Order of the columns and upper factor U of the inverse moments in that order.

    ``U^T U`` is the inverse of the damped moments; its rows say how the rounding error of a
    column is spread over those behind it (GPTQ, arXiv 2210.17323). Columns with the largest
    moment come first: most are left to make up for them.
    """
    order = torch.sort(products.diagonal(), descending=True, stable=True).indices
    ordered = damped(products.double())[order][:, order]
    inverse = torch.cholesky_inverse(_factored(ordered))
    return order, _factored(inverse, upper=True)


def _factored(moments: Tensor, *, upper: bool = False) -> Tensor:
    """Cholesky factor of moments; those of too few images need more damping."""
    factor, failed = torch.linalg.cholesky_ex(moments, upper=upper)
    step = moments.diagonal().abs().mean().clamp_min(_SMALLEST_DAMPING)
    while failed:
        moments = moments + step * torch.eye(len(moments), dtype=moments.dtype)
        factor, failed = torch.linalg.cholesky_ex(moments, upper=upper)
        step = 10 * step
    return factor


class _Reader:
    """A synapse and the inverse moments of its input, without what has left so far.

    Args:
        weight: [C_out, D].
        products: second moments of its input, [D, D].
        unit: inputs that leave together.
    """

    def __init__(self, weight: Tensor, products: Tensor, unit: int) -> None:
        self._weight = weight.double().clone()
        self._inverse = torch.linalg.inv(damped(products.double()))
        self._unit = unit

    def losses(self) -> Tensor:
        """Of each group that is held."""
        return _losses(self._weight, self._inverse, self._unit)

    def remove(self, place: int) -> None:
        """Take the group at a place out, and make up for it."""
        group = slice(place * self._unit, (place + 1) * self._unit)
        _remove(self._weight, self._inverse, group)

    def forget(self, gone: Tensor) -> None:
        """Hold no longer what was taken out."""
        self._weight, self._inverse = _without(self._weight, self._inverse, gone, self._unit)


def _leaving(readers: Sequence[_Reader], count: int, heads: int) -> Tensor:
    """Order in which so many groups leave all readers; the heads lose theirs in turn."""
    head_of = torch.arange(count) * heads // count
    left = torch.full((heads,), count // heads)
    # Group numbers of what the readers hold, and which of them have left.
    held, gone = torch.arange(count), torch.zeros(count, dtype=torch.bool)
    order = []
    for _ in range(count):
        if gone.sum() * _SHRINK >= len(held):
            for reader in readers:
                reader.forget(gone)
            held, gone = held[~gone], gone[~gone]
        losses = torch.stack([reader.losses() for reader in readers]).sum(0)
        may_leave = ~gone & (left[head_of[held]] == left.max())
        losses = torch.where(may_leave, losses, torch.full_like(losses, torch.inf))
        place = int(losses.argmin())
        for reader in readers:
            reader.remove(place)
        gone[place] = True
        group = int(held[place])
        left[head_of[group]] -= 1
        order.append(group)
    return torch.tensor(order)


def _losses(weight: Tensor, inverse: Tensor, unit: int) -> Tensor:
    """Loss of each group: ``sum over rows of w_g (H^-1_gg)^-1 w_g^T``; 0 for those that left."""
    if unit == 1:
        return weight.square().sum(0) / inverse.diagonal()
    count = len(inverse) // unit
    blocks = inverse.reshape(count, unit, count, unit).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    rows = weight.reshape(-1, count, unit).permute(1, 2, 0)
    return (rows * torch.linalg.solve(blocks, rows)).sum((1, 2))


def _remove(weight: Tensor, inverse: Tensor, group: slice) -> None:
    """Take a group out and update weights and inverse moments of the others, in place."""
    gain = torch.linalg.solve(inverse[group, group], inverse[group])
    weight.addmm_(weight[:, group].clone(), gain, alpha=-1)
    inverse.addmm_(inverse[:, group].clone(), gain, alpha=-1)
    # What is left of the group is rounding noise around zero; an identity keeps it solvable.
    weight[:, group] = 0
    inverse[:, group] = 0
    inverse[group] = 0
    inverse[group, group] = torch.eye(group.stop - group.start, dtype=inverse.dtype)


def _without(weight: Tensor, inverse: Tensor, gone: Tensor, unit: int) -> tuple[Tensor, Tensor]:
    """Both without the groups that have left: every removal passes over all that is held."""
    kept = (~gone).repeat_interleave(unit).nonzero().flatten()
    return weight[:, kept], inverse[kept][:, kept]
