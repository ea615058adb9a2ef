"""What a channel is worth, by its weights or by what its neurons did."""

from __future__ import annotations

import torch
from torch import Tensor

from ..declaration import ChannelGroup
from ..network import Network
from ..parts.synapse import ChannelNorm, parameters_of
from .activity import Activity, Arrays


def channel_scores(
    network: Network, group: ChannelGroup, criterion: str, activity: Activity
) -> Tensor:
    """Worth [size] of the channels of a group; the smallest leave first.

    ``l2`` and ``l1`` are norms over the rows of all producers, ``l2-producer`` over those of the
    first alone (PrimeSVT, arXiv 2606.03428), ``l1-joint`` over all numbers that a channel is
    attached to, consumers' columns included (DSP, arXiv 2508.01992). ``bn-scale`` is |gamma|
    behind the producers (arXiv 1708.06519). ``rate``, ``variance`` (arXiv 2507.12988) and
    ``taylor`` (arXiv 1611.06440) are sums over the neuron layers that lose the channel. Groups
    without a batch norm behind each producer, or without a neuron, go by ``l2`` instead.

    Args:
        network: trained, full.
        group: of channels.
        criterion: name; any other than those above counts as ``l2``.
        activity: what the criterion needs of the network's activity.
    """
    match criterion:
        case "l2-producer":
            return _norm(_rows(network, group.producers[:1]), 2)
        case "l1":
            return _norm(_rows(network, group.producers), 1)
        case "l1-joint":
            attached = (*group.producers, *group.carriers)
            return _norm([*_rows(network, attached), *_columns(network, group.consumers)], 1)
        case "bn-scale":
            found = _norm_scales(network, group)
        case "rate":
            found = _summed(network, group, activity.rates)
        case "variance":
            found = _summed(network, group, activity.variances)
        case "taylor":
            found = _summed(network, group, activity.taylor)
        case _:
            found = None
    return _norm(_rows(network, group.producers), 2) if found is None else found


def _norm(parts: list[Tensor], power: int) -> Tensor:
    """Norm [size] of each channel over parts [size, ...]."""
    if power == 1:
        return torch.stack([part.flatten(1).abs().sum(1) for part in parts]).sum(0)
    return torch.stack([part.flatten(1).square().sum(1) for part in parts]).sum(0).sqrt()


def _rows(network: Network, names: tuple[str, ...]) -> list[Tensor]:
    """Weights [size, ...] of synapses by output channel; a chain's last link produces."""
    paths = {s.name: s.weight for s in network.declaration.stored}
    paths |= {s.name: s.links[-1].weight for s in network.declaration.synapses if s.links}
    return [parameters_of(network.get_submodule(paths[name]))[0] for name in names]


def _columns(network: Network, names: tuple[str, ...]) -> list[Tensor]:
    """Weights [size, ...] of synapses by input channel; a chain's first link consumes."""
    paths = {s.name: s.weight for s in network.declaration.stored}
    paths |= {s.name: s.links[0].weight for s in network.declaration.synapses if s.links}
    weights = [parameters_of(network.get_submodule(paths[name]))[0] for name in names]
    return [weight.transpose(0, 1) for weight in weights]


def _norm_scales(network: Network, group: ChannelGroup) -> Tensor | None:
    """|gamma| [size], summed over the producers; None where one of them has no batch norm."""
    paths = {s.name: s.norm for s in network.declaration.stored}
    for synapse in network.declaration.synapses:
        if synapse.links:
            paths[synapse.name] = synapse.norm or synapse.links[-1].norm
    scales = []
    for name in group.producers:
        path = paths[name]
        norm = None if path is None else network.get_submodule(path)
        if not isinstance(norm, ChannelNorm):
            return None
        scales.append(norm.weight.detach().abs())
    return torch.stack(scales).sum(0)


def _summed(network: Network, group: ChannelGroup, arrays: Arrays) -> Tensor | None:
    """Sum [size] over the neuron layers of a group; None where it has none."""
    layers = [n.name for n in network.declaration.neurons if n.channels == group.name]
    found = [torch.from_numpy(arrays[name]) for name in layers if name in arrays]
    return torch.stack(found).sum(0) if found else None
