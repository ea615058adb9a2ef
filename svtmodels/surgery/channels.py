"""In which order the channels of a coupled group leave."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..declaration import ChannelGroup, Synapse
from ..network import Network
from ..parts.synapse import parameters_of
from .least_squares import removal_order


def strength_order(network: Network, group: ChannelGroup) -> Tensor:
    """Channels [size], the weakest first, by the L2 norm of what produces them."""
    norms = channel_norms(network, group).reshape(group.heads, -1)
    channels = torch.arange(group.size).reshape(group.heads, -1)
    if group.whole_heads:
        heads = _weakest_first(norms.square().sum(1))
        # Channels of one head leave together: their order does not matter.
        return channels[heads].flatten()
    ranks = _weakest_first(norms)
    return channels.gather(1, ranks).T.flatten()


def surgeon_order(weight: Tensor, products: Tensor, group: ChannelGroup) -> Tensor:
    """Channels [size], first to leave first, by what their loss costs the synapse that reads them.

    Args:
        weight: of the consumer, [C_out, size * k * k], batch norm folded in.
        products: second moments of its input.
        group: of channels.
    """
    kernel = weight.shape[1] // group.size
    if not group.whole_heads:
        return removal_order(weight, products, kernel, group.heads)
    size = group.size // group.heads
    heads = removal_order(weight, products, kernel * size, 1)
    return torch.arange(group.size).reshape(group.heads, size)[heads].flatten()


def channel_norms(network: Network, group: ChannelGroup) -> Tensor:
    """L2 norm [size] of each channel over the rows of all synapses that produce it."""
    last = {synapse.name: synapse.weight for synapse in network.declaration.stored}
    # A chain produces its channels with its last link.
    last |= {s.name: s.links[-1].weight for s in network.declaration.synapses if s.links}
    squares = [
        parameters_of(network.get_submodule(last[name]))[0].flatten(1).square().sum(1)
        for name in group.producers
    ]
    return torch.stack(squares).sum(0).sqrt()


def sole_consumer(synapses: Mapping[str, Synapse], group: ChannelGroup) -> Synapse | None:
    """The one synapse that reads a group's channels, if it is one with a weight of its own."""
    if len(group.consumers) != 1:
        return None
    # A link of a chain is no synapse of its own.
    consumer = synapses.get(group.consumers[0])
    return None if consumer is None or consumer.links else consumer


def _weakest_first(values: Tensor) -> Tensor:
    # A stable sort, so that equal ones leave in the same order on every machine: the last first.
    return torch.sort(values, dim=-1, descending=True, stable=True).indices.flip(-1)
