"""Builds a smaller network from a trained one and a candidate.

Canonical order, whatever order the candidate was written in: time steps, channels, tokens,
density, bits of weights, bits of membranes. What a density took away stays zero when the rest is
rounded. The trained network is not changed and shares no tensor with the result, which may be
fine-tuned.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...spaces.candidate import Candidate
from ...spaces.errors import BadInput
from ...spaces.site import HALF_BITS, Site, SiteKind
from ...spaces.widths import chosen_widths
from ..build import Build
from ..declaration import Synapse
from ..network import Network
from ..official import build_official
from ..parts.neuron import LIF
from ..parts.parametric_neuron import ParametricLIF
from ..parts.state_neuron import StateLIF
from ..parts.synapse import CompositeSynapse, QuantisedSynapse, window_of
from ..parts.token_rule import TokenRule
from .prepared import PreparedSurgery
from .pruning import Cuts, prune_synapse


def compress(
    network: Network, candidate: Candidate, prepared: PreparedSurgery | None = None
) -> Network:
    """Network that the candidate describes, with shapes that are really smaller.

    Args:
        network: trained, not compressed before.
        candidate: of one of its spaces.
        prepared: surgery of this network, which says what leaves first and how it is made up
            for; None judges by magnitude and rounds to nearest.

    Raises:
        BadInput: the network is a compressed one already, the candidate does not fit it, or the
            surgery is that of another network.
    """
    if network.candidate != Candidate():
        raise BadInput("this network was compressed before; start from the trained one.")
    if prepared is not None and prepared.network is not network:
        raise BadInput("this surgery was prepared for another network; prepare one for this.")
    prepared = prepared or PreparedSurgery(network)
    values = check_candidate(network, candidate)
    chosen = chosen_by_kind(values)
    widths = chosen_widths(chosen)
    kept = {name: prepared.kept(name, width) for name, width in widths.items()}
    rule = TokenRule.of(prepared.options, network.token_window)
    small = _empty(network, widths, chosen[SiteKind.TOKEN], rule)
    small.load_state_dict(_sliced(network, small, kept, prepared), strict=True, assign=True)
    small.time_steps = next(iter(chosen[SiteKind.TIME].values()), network.time_steps)
    small.kept_channels = kept
    small.candidate = candidate
    small.card = network.card
    small.kept_numbers = prepared.kept_numbers(chosen)
    cuts = Cuts(*network.declaration.rows_and_columns(kept), small.kept_numbers)
    for synapse in network.declaration.synapses:
        _set_weight(small, synapse, chosen[SiteKind.WEIGHT].get(synapse.name), prepared, cuts)
    for name, bits in chosen[SiteKind.STATE].items():
        neuron = small.get_submodule(name)
        assert isinstance(neuron, LIF | ParametricLIF)
        small.set_submodule(name, StateLIF(float(neuron.tau), float(neuron.v_threshold), bits))
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


def _set_weight(
    network: Network, synapse: Synapse, bits: int | None, prepared: PreparedSurgery, cuts: Cuts
) -> None:
    """Give a synapse of the small network its density and its bits; None: it keeps its own."""
    if bits is not None and bits != HALF_BITS:
        quantise_synapse(network, synapse, bits, prepared, cuts)
        return
    if synapse.name in cuts.counts:
        prune_synapse(network, synapse, prepared, cuts)
    if bits == HALF_BITS:
        _halve(network, synapse)


def _halve(network: Network, synapse: Synapse) -> None:
    """Round a weight to what float16 can hold; a chain, if it still is one, link by link."""
    module = network.get_submodule(synapse.weight)
    links = synapse.links if isinstance(module, CompositeSynapse) else (synapse,)
    for link in links:
        weight = network.get_parameter(f"{link.weight}.weight")
        limit = torch.finfo(torch.float16).max
        weight.data = weight.data.clamp(-limit, limit).half().to(weight.dtype)


def quantise_synapse(
    network: Network, synapse: Synapse, bits: int, prepared: PreparedSurgery, cuts: Cuts
) -> None:
    """Replace a synapse of the small network, and the batch norm behind it, by integers."""
    sparse = cuts.sparse(synapse.name)
    found = prepared.rounded(synapse.name, cuts.columns.get(synapse.name), bits, sparse)
    # What was pruned holds the kept rows alone.
    kept = cuts.rows.get(synapse.name) if sparse is None else None
    if synapse.norm is not None:
        network.set_submodule(synapse.norm, nn.Identity())
    grid, largest = network.input_grid(synapse.source)
    quantised = QuantisedSynapse(
        _cut(found.codes, kept, None),
        _cut(found.scale, kept, None) / grid,
        _cut(found.bias, kept, None),
        bits=bits,
        grid=grid,
        max_input=largest,
        **window_of(network.get_submodule(synapse.weight)),
    )
    network.set_submodule(synapse.weight, quantised)


def _empty(
    network: Network, widths: Mapping[str, int], tokens: Mapping[str, int], rule: TokenRule
) -> Network:
    with torch.device("meta"):
        return build_official(
            network.architecture,
            network.arguments,
            Build(widths, tokens, rule, idle=False),
        )


def _sliced(
    network: Network, small: Network, kept: Mapping[str, Tensor], prepared: PreparedSurgery
) -> dict[str, Tensor]:
    """State dict of the small network, cut out of the trained one's."""
    state = network.state_dict()
    tensors = {name: state[name] for name in small.state_dict()}
    rows, columns = network.declaration.rows_and_columns(kept)
    declared = network.declaration
    for synapse in declared.synapses:
        if synapse.name in columns and not synapse.links:
            _read_fewer(tensors, synapse, columns[synapse.name], prepared)
    chains = [synapse for synapse in declared.synapses if synapse.links]
    links = {link.name for chain in chains for link in chain.links}
    for synapse in (*declared.stored, *chains):
        own = [] if synapse.links else [f"{synapse.weight}."]
        own += [f"{synapse.norm}."] if synapse.norm else []
        for name in tensors:
            if name.startswith(tuple(own)) and tensors[name].dim() > 0:
                tensors[name] = _cut(tensors[name], rows.get(synapse.name), None)
        if synapse.name in links:
            weight = f"{synapse.weight}.weight"
            tensors[weight] = _cut(tensors[weight], None, columns.get(synapse.name))
    for scale in declared.scales:
        tensors[scale.path] = _cut(tensors[scale.path], kept.get(scale.channels), None)
    return {name: t.clone() if t is state[name] else t for name, t in tensors.items()}


def _read_fewer(
    tensors: dict[str, Tensor], synapse: Synapse, kept: Tensor, prepared: PreparedSurgery
) -> None:
    """Give a synapse the weights that read only the kept channels, and its output their mean."""
    cut = prepared.cut(synapse.name, kept)
    tensors[f"{synapse.weight}.weight"] = cut.weight.clone()
    if cut.shift is None:
        return
    bias, mean = f"{synapse.weight}.bias", f"{synapse.norm}.running_mean"
    if bias in tensors:
        tensors[bias] = tensors[bias] + cut.shift
    elif mean in tensors:
        tensors[mean] = tensors[mean] - cut.shift


def _cut(tensor: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    if rows is not None:
        tensor = tensor.index_select(0, rows.to(tensor.device))
    if columns is not None:
        tensor = tensor.index_select(1, columns.to(tensor.device))
    return tensor
