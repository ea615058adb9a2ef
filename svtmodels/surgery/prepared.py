"""Surgery that is prepared once and looked up by every candidate.

What leaves first, the weights that make up for it and their integer codes depend on few choices
each: on a group, on what one synapse keeps of its input, and on its bits. All rows are prepared;
what a candidate keeps of them is cut out afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ...spaces.site import SiteKind
from ...spaces.surgery import MAGNITUDE, SurgeryOptions
from ...spaces.widths import chosen_widths
from ..network import Network
from ..parts.synapse import shape_of
from .activity import Activity
from .bits import quantise
from .cache import SurgeryCache
from .channels import loss_order, order_by, sole_consumer, stream_order, surgeon_order
from .criteria import channel_scores
from .density import counts_by_one_threshold, kept_count, largest, pruned_with_compensation
from .least_squares import resolved
from .measured import Measured
from .moments import Moments
from .pieces import Cut, Order, Pruned, Rounded, Sparse
from .scales import ScaleRule


class PreparedSurgery:
    """Orders, compensated weights and codes of one trained network.

    Args:
        network: trained, not compressed.
        options: how it is done.
        moments: of its synapses' inputs; those without any are judged by magnitude, rounded to
            nearest, and not compensated by least squares.
        activity: what `collect_activity` found for these options; channels that it does not know
            are judged by magnitude, and means that it does not know are not made up for.
        cache: where what was prepared is kept; None: in the memory of this process alone.
    """

    def __init__(
        self,
        network: Network,
        options: SurgeryOptions = MAGNITUDE,
        moments: Mapping[str, Moments] | None = None,
        activity: Activity | None = None,
        cache: SurgeryCache | None = None,
    ) -> None:
        self.network = network
        self.options = options
        self._measured = Measured(network, moments or {}, activity or Activity())
        self._cache = cache or SurgeryCache()

    def kept(self, name: str, width: int) -> Tensor:
        """Channels of a group that stay at this width: indices, ascending."""
        order = self._cache.get(("order", name), Order, lambda: self._order(name)).channels
        return order[len(order) - width :].sort().values

    def cut(self, name: str, kept: Tensor) -> Cut:
        """A synapse that reads only the kept channels of its input."""
        return self._cache.get(("cut", name, _key(kept)), Cut, lambda: self._cut(name, kept))

    def kept_numbers(self, chosen: Mapping[SiteKind, Mapping[str, int]]) -> dict[str, int]:
        """How many numbers of each pruned synapse's weight are not zero, by synapse name.

        Args:
            chosen: what a candidate chooses, by kind and site name.
        """
        density, widths = chosen[SiteKind.DENSITY], chosen_widths(chosen)
        rows, columns = self.network.declaration.rows_and_columns(widths)
        counts = {}
        for name, percent in density.items():
            outputs, inputs, *kernel = shape_of(self._measured.module(name))
            outputs, inputs = rows.get(name, outputs), columns.get(name, inputs)
            counts[name] = kept_count(outputs * inputs * math.prod(kernel), percent)
        if self.options.density_scope == "matrix":
            return counts
        indices = {group: self.kept(group, width) for group, width in widths.items()}
        rows, columns = self.network.declaration.rows_and_columns(indices)
        left = {name: self._left(name, rows.get(name), columns.get(name)) for name in counts}
        return counts_by_one_threshold({n: w.abs() for n, w in left.items()}, counts)

    def pruned(self, name: str, kept: Tensor | None, sparse: Sparse) -> Pruned:
        """A synapse without some of its weights, reading the kept channels (None: all)."""
        key = ("pruned", name, _key(kept), _key(sparse.rows), sparse.count)
        return self._cache.get(key, Pruned, lambda: self._prune(name, kept, sparse))

    def bias(self, name: str, kept: Tensor | None, rows: Tensor | None) -> Tensor:
        """Bias of a synapse that reads the kept channels, before anything is pruned; kept rows."""
        return _rows(self._parameters(name, kept)[1], rows)

    def rounded(
        self, name: str, kept: Tensor | None, bits: int, sparse: Sparse | None = None
    ) -> Rounded:
        """A synapse in integers of a width, reading the kept channels (None: all of them).

        Args:
            name: of the synapse.
            kept: channels that it reads.
            bits: 1..8.
            sparse: what it keeps, if it was pruned before.
        """
        part = None if sparse is None else (_key(sparse.rows), sparse.count)
        key = ("rounded", name, _key(kept), bits, part)
        return self._cache.get(key, Rounded, lambda: self._round(name, kept, bits, sparse))

    def _order(self, name: str) -> Order:
        group, measured = self._measured.groups[name], self._measured
        if self.options.channels == "surgeon":
            if group in self.network.declaration.residuals:
                readers = [each for each in group.consumers if measured.has_moments(each)]
                if readers:
                    return Order(stream_order([measured.reading(each) for each in readers], group))
            consumer = sole_consumer(measured.synapses, group)
            if consumer is not None and measured.has_moments(consumer.name):
                return Order(surgeon_order(*measured.reading(consumer.name), group))
            if name in measured.activity.losses:
                return Order(loss_order(torch.from_numpy(measured.activity.losses[name]), group))
        scores = channel_scores(self.network, group, self.options.channels, measured.activity)
        return Order(order_by(scores, group))

    def _cut(self, name: str, kept: Tensor) -> Cut:
        measured, weight = self._measured, self._measured.weight(name)
        if self.options.compensation == "mean":
            return Cut(weight.index_select(1, kept), measured.lost_mean(name, kept))
        if self.options.compensation == "none" or not measured.has_moments(name):
            return Cut(weight.index_select(1, kept), None)
        rows, columns = weight.flatten(1), measured.columns(name, kept)
        solved = resolved(rows, measured.products(name), columns)
        shift = None
        if measured.takes_shift(name):
            means = measured.means(name).to(rows)
            shift = rows @ means - solved @ means[columns]
        return Cut(solved.reshape(len(weight), len(kept), *weight.shape[2:]), shift)

    def _prune(self, name: str, kept: Tensor | None, sparse: Sparse) -> Pruned:
        measured = self._measured
        weight = _rows(self._parameters(name, kept)[0], sparse.rows)
        rows = weight.flatten(1)
        if self.options.density == "magnitude" or not measured.has_moments(name):
            # By the trained weights: those of a cut may have been made up for what left.
            stays = largest(self._left(name, sparse.rows, kept).flatten(1).abs(), sparse.count)
            shape = weight.shape
            return Pruned((rows * stays).reshape(shape), stays.reshape(shape), None)
        columns = measured.columns(name, kept)
        products = measured.products(name)[columns][:, columns]
        strength = _rows(measured.norm(name)[0], sparse.rows)
        solved, stays = pruned_with_compensation(rows, sparse.count, products, strength)
        shift = None
        if measured.takes_shift(name):
            shift = (rows - solved) @ measured.means(name)[columns].to(rows)
        return Pruned(solved.reshape(weight.shape), stays.reshape(weight.shape), shift)

    def _round(
        self, name: str, kept: Tensor | None, bits: int, sparse: Sparse | None = None
    ) -> Rounded:
        measured = self._measured
        weight, shift = self._parameters(name, kept)
        scale, offset = measured.norm(name)
        stays = None
        if sparse is not None:
            pruned = self.pruned(name, kept, sparse)
            scale, offset, shift = (_rows(each, sparse.rows) for each in (scale, offset, shift))
            weight, stays = pruned.weight, pruned.kept
            shift = shift if pruned.shift is None else shift + pruned.shift
        shift = shift * scale + offset
        rule = ScaleRule(self.options.scales, self.options.scale_per == "tensor")
        folded = weight * scale.reshape(-1, *(1,) * (weight.dim() - 1))
        # One step for the tensor is one for the trained weights, whose rows are alike; what the
        # batch norm does to each of them is left to the scale, which is stored per row anyway.
        source = weight if rule.per_tensor else folded
        if not measured.has_moments(name):
            codes, steps = quantise(source, bits, rule=rule, kept=stays)
            return Rounded(codes, steps * scale if rule.per_tensor else steps, shift)
        columns = measured.columns(name, kept)
        products = measured.products(name)[columns][:, columns]
        importance = products.diagonal() if self.options.scales == "importance" else None
        compensated = self.options.rounding != "nearest"
        weighing = products if compensated else None
        refine = self.options.rounding == "refined"
        codes, steps = quantise(source, bits, weighing, importance, rule, stays, refine=refine)
        steps = steps * scale if rule.per_tensor else steps
        if compensated and measured.takes_shift(name):
            means = measured.means(name)[columns].to(weight)
            shift = shift + (folded.flatten(1) - codes.flatten(1) * steps[:, None]) @ means
        return Rounded(codes, steps, shift)

    def _parameters(self, name: str, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weight that reads the kept channels, and bias [C_out]; all rows."""
        shift = self._measured.bias(name)
        if kept is None:
            return self._measured.weight(name), shift
        cut = self.cut(name, kept)
        return cut.weight, shift if cut.shift is None else shift + cut.shift

    def _left(self, name: str, rows: Tensor | None, columns: Tensor | None) -> Tensor:
        """What is left of a trained weight without the rows and columns that were cut."""
        weight = _rows(self._measured.weight(name), rows)
        return weight if columns is None else weight.index_select(1, columns)


def _rows(tensor: Tensor, kept: Tensor | None) -> Tensor:
    return tensor if kept is None else tensor.index_select(0, kept)


def _key(kept: Tensor | None) -> bytes | None:
    return None if kept is None else kept.numpy().tobytes()
