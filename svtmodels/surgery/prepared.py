"""Surgery that is prepared once and looked up by every candidate.

What leaves first, the weights that make up for it and their integer codes depend on few choices
each: on a group, on what one synapse keeps of its input, and on its bits. All rows are prepared;
what a candidate keeps of them is cut out afterwards.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...spaces.surgery import MAGNITUDE, SurgeryOptions
from ..declaration import Synapse
from ..network import Network
from ..parts.synapse import ChannelAffine, ChannelNorm, parameters_of
from .bits import quantise
from .channels import sole_consumer, strength_order, surgeon_order
from .least_squares import resolved
from .moments import Moments

CACHE_BYTES = 256 * 2**20
"""Memory of one network's prepared weights and codes; the longest unused leave first."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A synapse that reads fewer channels; all rows.

    Attributes:
        weight: [C_out, kept, ...].
        shift: what is added to its output to keep its mean, [C_out]; None where nothing can be.
    """

    weight: Tensor
    shift: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """A synapse as integers, batch norm folded in; all rows.

    Attributes:
        codes: int8 [C_out, kept, ...].
        scale: [C_out].
        bias: [C_out].
    """

    codes: Tensor
    scale: Tensor
    bias: Tensor


class PreparedSurgery:
    """Orders, compensated weights and codes of one trained network.

    Args:
        network: trained, not compressed.
        options: how it is done.
        moments: of its synapses' inputs; those without any are judged by magnitude, rounded to
            nearest, and not compensated.
    """

    def __init__(
        self,
        network: Network,
        options: SurgeryOptions = MAGNITUDE,
        moments: Mapping[str, Moments] | None = None,
    ) -> None:
        self.network = network
        self.options = options
        self._moments = moments or {}
        self._synapses = {s.name: s for s in network.declaration.synapses}
        self._groups = {group.name: group for group in network.declaration.channels}
        self._cache: OrderedDict[Hashable, Any] = OrderedDict()
        self._bytes = 0

    def kept(self, name: str, width: int) -> Tensor:
        """Channels of a group that stay at this width: indices, ascending."""
        order = self._cached(("order", name), lambda: self._order(name))
        return order[len(order) - width :].sort().values

    def cut(self, name: str, kept: Tensor) -> Cut:
        """A synapse that reads only the kept channels of its input."""
        return self._cached(("cut", name, _key(kept)), lambda: self._cut(name, kept))

    def rounded(self, name: str, kept: Tensor | None, bits: int) -> Rounded:
        """A synapse in integers of a width, reading the kept channels (None: all of them)."""
        key = ("rounded", name, _key(kept), bits)
        return self._cached(key, lambda: self._round(name, kept, bits))

    def _order(self, name: str) -> Tensor:
        group = self._groups[name]
        consumer = sole_consumer(self._synapses, group)
        by_strength = self.options.channels == "l2"
        if by_strength or consumer is None or consumer.name not in self._moments:
            return strength_order(self.network, group)
        scale, _ = self._norm(consumer)
        weight = parameters_of(self.network.get_submodule(consumer.weight))[0].flatten(1)
        if weight.shape[1] % group.size:
            return strength_order(self.network, group)
        return surgeon_order(weight * scale[:, None], self._products(consumer), group)

    def _cut(self, name: str, kept: Tensor) -> Cut:
        synapse = self._synapses[name]
        weight = parameters_of(self.network.get_submodule(synapse.weight))[0]
        if self.options.compensation == "none" or name not in self._moments:
            return Cut(weight.index_select(1, kept), None)
        rows, columns = weight.flatten(1), _columns(weight, kept)
        solved = resolved(rows, self._products(synapse), columns)
        shape = (len(weight), len(kept), *weight.shape[2:])
        shift = None
        if self._takes_shift(synapse):
            means = torch.from_numpy(self._moments[name].means).to(rows)
            shift = rows @ means - solved @ means[columns]
        return Cut(solved.reshape(shape), shift)

    def _round(self, name: str, kept: Tensor | None, bits: int) -> Rounded:
        synapse = self._synapses[name]
        weight, bias = parameters_of(self.network.get_submodule(synapse.weight))
        shift = weight.new_zeros(len(weight)) if bias is None else bias
        columns = slice(None) if kept is None else _columns(weight, kept)
        if kept is not None:
            cut = self.cut(name, kept)
            weight = cut.weight
            shift = shift if cut.shift is None else shift + cut.shift
        scale, offset = self._norm(synapse)
        weight = weight * scale.reshape(-1, *(1,) * (weight.dim() - 1))
        shift = shift * scale + offset
        if name not in self._moments:
            return Rounded(*quantise(weight, bits), shift)
        products = self._products(synapse)[columns][:, columns]
        importance = products.diagonal() if self.options.scales == "importance" else None
        compensated = self.options.rounding == "compensated"
        codes, steps = quantise(weight, bits, products if compensated else None, importance)
        if compensated and self._takes_shift(synapse):
            means = torch.from_numpy(self._moments[name].means).to(weight)[columns]
            shift = shift + (weight.flatten(1) - codes.flatten(1) * steps[:, None]) @ means
        return Rounded(codes, steps, shift)

    def _products(self, synapse: Synapse) -> Tensor:
        """What errors are weighed by: the covariance, where the mean can be made up for."""
        moments = self._moments[synapse.name]
        products = torch.from_numpy(moments.products).double()
        if not self._takes_shift(synapse):
            return products
        means = torch.from_numpy(moments.means).double()
        return products - torch.outer(means, means)

    def _takes_shift(self, synapse: Synapse) -> bool:
        """Whether a constant can be added to a synapse's output: a bias or a batch norm does."""
        if parameters_of(self.network.get_submodule(synapse.weight))[1] is not None:
            return True
        return synapse.norm is not None and isinstance(
            self.network.get_submodule(synapse.norm), ChannelNorm
        )

    def _norm(self, synapse: Synapse) -> tuple[Tensor, Tensor]:
        """Scale and offset of the batch norm behind a synapse; one and zero without."""
        if synapse.norm is None:
            module = self.network.get_submodule(synapse.weight)
            weight = parameters_of(module)[0]
            return weight.new_ones(len(weight)), weight.new_zeros(len(weight))
        norm = self.network.get_submodule(synapse.norm)
        assert isinstance(norm, ChannelNorm | ChannelAffine)
        scale, offset = norm.folded()
        return scale.detach(), offset.detach()

    def _cached(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        value = make()
        self._cache[key] = value
        self._bytes += _bytes(value)
        while self._bytes > CACHE_BYTES and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._bytes -= _bytes(oldest)
        return value


def _columns(weight: Tensor, kept: Tensor) -> Tensor:
    """Numbers within a row [C_in * k * k] of the weights that read the kept channels."""
    kernel = weight[0, 0].numel()
    return (kept[:, None] * kernel + torch.arange(kernel)).flatten()


def _key(kept: Tensor | None) -> bytes | None:
    return None if kept is None else kept.numpy().tobytes()


def _bytes(value: Tensor | Cut | Rounded) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    parts = [getattr(value, name) for name in value.__slots__]
    return sum(part.nbytes for part in parts if part is not None)
