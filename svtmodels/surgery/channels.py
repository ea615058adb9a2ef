"""Which channels of a coupled group stay."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..declaration import ChannelGroup
from ..network import Network
from ..parts.synapse import parameters_of


def kept_channels(network: Network, widths: Mapping[str, int]) -> dict[str, Tensor]:
    """Indices, ascending, of the channels that stay in each group of `widths`.

    The channels with the smallest L2 norm leave; of a group with heads, equally many per
    head, or whole heads.
    """
    groups = {group.name: group for group in network.declaration.channels}
    return {name: _strongest(network, groups[name], width) for name, width in widths.items()}


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


def _strongest(network: Network, group: ChannelGroup, width: int) -> Tensor:
    norms = channel_norms(network, group).reshape(group.heads, -1)
    channels = torch.arange(group.size).reshape(group.heads, -1)
    if group.whole_heads:
        heads = _largest(norms.square().sum(1), width // norms.shape[1])
        return channels[heads].flatten()
    kept = _largest(norms, width // group.heads)
    return channels.gather(1, kept).flatten()


def _largest(values: Tensor, count: int) -> Tensor:
    """Indices, ascending, of the largest values along the last axis."""
    # A stable sort, so that equal ones leave in the same order on every machine.
    order = torch.sort(values, dim=-1, descending=True, stable=True).indices
    return order[..., :count].sort(dim=-1).values
