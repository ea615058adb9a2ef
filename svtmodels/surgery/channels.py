"""Which channels of a coupled group stay."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..declaration import ChannelGroup, Declaration
from ..network import Network
from ..parts.synapse import parameters_of


def kept_channels(network: Network, widths: Mapping[str, int]) -> dict[str, Tensor]:
    """Indices, ascending, of the channels that stay in each group of `widths`.

    The channels with the smallest L2 norm leave; of a group with heads, equally many per head.
    """
    groups = {group.name: group for group in network.declaration.channels}
    return {name: _strongest(network, groups[name], width) for name, width in widths.items()}


def channel_norms(network: Network, group: ChannelGroup) -> Tensor:
    """L2 norm [size] of each channel over the rows of all synapses that produce it."""
    modules = {synapse.name: synapse.weight for synapse in network.declaration.synapses}
    squares = [
        parameters_of(network.get_submodule(modules[name]))[0].flatten(1).square().sum(1)
        for name in group.producers
    ]
    return torch.stack(squares).sum(0).sqrt()


def rows_and_columns(
    declaration: Declaration, kept: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Kept output and input channels of the synapses that lose some, by synapse name."""
    rows: dict[str, Tensor] = {}
    columns: dict[str, Tensor] = {}
    for group in declaration.channels:
        if group.name in kept:
            rows |= dict.fromkeys(group.producers, kept[group.name])
            columns |= dict.fromkeys(group.consumers, kept[group.name])
    return rows, columns


def _strongest(network: Network, group: ChannelGroup, width: int) -> Tensor:
    norms = channel_norms(network, group).reshape(group.heads, -1)
    # A stable sort, so that channels of equal norm leave in the same order on every machine.
    order = torch.sort(norms, dim=1, descending=True, stable=True).indices
    kept = order[:, : width // group.heads].sort(dim=1).values
    offsets = torch.arange(group.heads)[:, None] * norms.shape[1]
    return (kept + offsets).flatten()
