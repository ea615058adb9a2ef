"""Builds a smaller network from a trained one and a candidate.

Canonical order, whatever order the candidate was written in: time steps, channels, tokens, bits.
The trained network is not changed and shares no tensor with the result, which may be fine-tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...spaces.candidate import Candidate
from ...spaces.errors import BadInput
from ...spaces.site import UNTOUCHED_BITS, Site, SiteKind
from ..declaration import Synapse
from ..network import Network
from ..official import build_official
from ..parts.synapse import (
    ChannelAffine,
    ChannelNorm,
    QuantisedSynapse,
    parameters_of,
    window_of,
)
from .bits import quantise
from .channels import kept_channels


def compress(
    network: Network, candidate: Candidate, statistics: Mapping[str, Any] | None = None
) -> Network:
    """Network that the candidate describes, with shapes that are really smaller.

    Args:
        network: trained, not compressed before.
        candidate: of one of its spaces.
        statistics: of the trained network on calibration images; the criteria of this version
            need none and take None only.

    Raises:
        BadInput: the network is a compressed one already, or the candidate does not fit it.
    """
    if statistics is not None:
        raise BadInput("no criterion of this version reads statistics; pass None.")
    if network.candidate != Candidate():
        raise BadInput("this network was compressed before; start from the trained one.")
    values = check_candidate(network, candidate)
    chosen = chosen_by_kind(values)
    widths = chosen[SiteKind.CHANNEL]
    kept = kept_channels(network, widths)
    small = _empty(network, widths, chosen[SiteKind.TOKEN])
    small.load_state_dict(_sliced(network, small, kept), strict=True, assign=True)
    small.time_steps = next(iter(chosen[SiteKind.TIME].values()), network.time_steps)
    small.kept_channels = kept
    small.candidate = candidate
    small.card = network.card
    bits = chosen[SiteKind.WEIGHT]
    for synapse in network.declaration.synapses:
        if bits.get(synapse.name, UNTOUCHED_BITS) != UNTOUCHED_BITS:
            quantise_synapse(small, synapse, bits[synapse.name])
    return small.train(network.training)


def check_candidate(network: Network, candidate: Candidate) -> dict[Site, int]:
    """Value at every site of the network.

    Raises:
        BadInput: the candidate names a site that the network lacks, or an illegal value.
    """
    checked = Candidate.from_dict(candidate.to_dict(), network.sites)
    return checked.values(network.sites)


def chosen_by_kind(values: Mapping[Site, int]) -> dict[SiteKind, dict[str, int]]:
    """Values that differ from the full size, by kind and site name."""
    chosen: dict[SiteKind, dict[str, int]] = {kind: {} for kind in SiteKind}
    for site, value in values.items():
        if value != site.size:
            chosen[site.kind][site.name] = value
    return chosen


def quantise_synapse(network: Network, synapse: Synapse, bits: int) -> None:
    """Fold the batch norm of a synapse into it and replace it by integers, in place."""
    module = network.get_submodule(synapse.weight)
    weight, bias = parameters_of(module)
    shift = weight.new_zeros(len(weight)) if bias is None else bias
    if synapse.norm is not None:
        norm = network.get_submodule(synapse.norm)
        assert isinstance(norm, ChannelNorm | ChannelAffine)
        scale, offset = (tensor.detach() for tensor in norm.folded())
        weight = weight * scale.reshape(-1, *(1,) * (weight.dim() - 1))
        shift = shift * scale + offset
        network.set_submodule(synapse.norm, nn.Identity())
    codes, steps = quantise(weight, bits)
    grid, largest = network.input_grid(synapse.source)
    quantised = QuantisedSynapse(
        codes,
        steps / grid,
        shift,
        bits=bits,
        grid=grid,
        max_input=largest,
        **window_of(module),
    )
    network.set_submodule(synapse.weight, quantised)


def _empty(network: Network, widths: Mapping[str, int], tokens: Mapping[str, int]) -> Network:
    with torch.device("meta"):
        return build_official(
            network.architecture,
            network.arguments,
            widths=widths,
            kept_tokens=tokens,
            idle=False,
        )


def _sliced(network: Network, small: Network, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of the small network, cut out of the trained one's."""
    state = network.state_dict()
    tensors = {name: state[name] for name in small.state_dict()}
    rows, columns = network.declaration.rows_and_columns(kept)
    chains = [synapse for synapse in network.declaration.synapses if synapse.links]
    for synapse in (*network.declaration.stored, *chains):
        own = [] if synapse.links else [f"{synapse.weight}."]
        own += [f"{synapse.norm}."] if synapse.norm else []
        for name in tensors:
            if name.startswith(tuple(own)) and tensors[name].dim() > 0:
                tensors[name] = _cut(tensors[name], rows.get(synapse.name), None)
    for synapse in network.declaration.stored:
        weight = f"{synapse.weight}.weight"
        tensors[weight] = _cut(tensors[weight], None, columns.get(synapse.name))
    return {name: t.clone() if t is state[name] else t for name, t in tensors.items()}


def _cut(tensor: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    if rows is not None:
        tensor = tensor.index_select(0, rows.to(tensor.device))
    if columns is not None:
        tensor = tensor.index_select(1, columns.to(tensor.device))
    return tensor
