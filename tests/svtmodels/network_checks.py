"""What every network must hold, whatever its family."""

from __future__ import annotations

import copy
import math
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import torch
from golden_rule import make_state
from packed_files import MODEL, manifest_of, spans_of
from small_spikformers import choose, inputs_for, watched
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from spikefront.evaluators.drift import collect_traces, layer_drifts
from spikefront.spaces import Candidate
from spikefront.svtmodels import (
    Network,
    build_official,
    compress,
    load_packed,
    read_golden,
    save_packed,
    static_costs,
)
from spikefront.svtmodels.declaration import AttentionKind, ChannelGroup
from spikefront.svtmodels.parts.integer_neuron import IntegerNeuron
from spikefront.svtmodels.parts.neuron import LIF
from spikefront.svtmodels.parts.parametric_neuron import ParametricLIF
from spikefront.svtmodels.parts.synapse import parameters_of

TOLERANCE = 1e-9
NEURONS = LIF | ParametricLIF | IntegerNeuron
RULE = {
    "gain": 2.0,
    "bn_w": [0.6, 1.4],
    "bn_b": [0.6, 0.5],
    "mean_std": 0.2,
    "var": [0.5, 1.5],
    "lin_b": 0.2,
    "other": 0.3,
    "scale": [0.5, 1.5],
}
"""Weights with which every layer fires."""


def filled(
    architecture: str,
    arguments: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
    **rule: Any,
) -> Network:
    """A network whose weights follow the golden rule, in eval mode."""
    network = build_official(architecture, arguments)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    network.load_state_dict(make_state(shapes, rule, RULE), strict=True)
    return network.eval().to(dtype)


def logits(network: Network, x: Tensor) -> Tensor:
    with torch.no_grad():
        return network(x)


def check_call(network: Network) -> None:
    """A call leaves nothing behind, and images do not see each other."""
    x = inputs_for(network, batch=3)
    first = logits(network, x)
    assert first.shape == (3, network.classes) and first.std() > 0.05
    assert torch.equal(logits(network, x), first)
    alone = torch.cat([logits(network, image[None]) for image in x])
    assert torch.allclose(alone, first, atol=1e-4)
    assert torch.allclose(network.per_step(x).mean(1), first, atol=1e-5)


def check_declaration(network: Network) -> None:
    """The declaration names all that acts, in the order of signals, with the sizes that run."""
    declared = network.declaration
    bare = compress(network, Candidate())  # Without what never acts.
    weights = {n for n, p in bare.named_parameters() if p.dim() > 1}
    assert {f"{s.weight}.weight" for s in declared.stored} == weights
    norms = {n.removesuffix(".running_mean") for n in bare.state_dict() if "running_mean" in n}
    everything = {s.name: s for s in (*declared.synapses, *declared.stored)}
    assert {s.norm for s in everything.values() if s.norm} == norms
    layers = [n for n, m in bare.named_modules() if isinstance(m, NEURONS)]
    paths = [synapse.weight for synapse in declared.synapses]
    with watched(bare, layers) as fired, watched(bare, paths) as ran:
        logits(bare, inputs_for(network, batch=1))
    assert [layer.name for layer in declared.neurons] == list(fired)
    assert len(fired) == len(layers)
    assert paths == list(ran)
    largest = [getattr(bare.get_submodule(n), "levels", 1) for n in fired]
    rates = [float(spikes.mean()) for _, spikes in fired.values()]
    assert all(0 < rate < top for rate, top in zip(rates, largest, strict=True))
    for synapse in declared.synapses:
        steps = 1 if synapse.source in ("image", "pooled") else network.time_steps
        got = math.prod(ran[synapse.weight][1].shape[:-1])
        assert got == synapse.positions * steps, synapse.name
    modules = {name: network.get_submodule(s.weight) for name, s in everything.items()}
    for group in declared.groups:
        for name in group.producers:
            assert parameters_of(modules[name])[0].shape[0] == group.size
        for name in group.consumers:
            assert parameters_of(modules[name])[0].shape[1] == group.size
    largest = max(
        float(entered.max())
        for s in declared.synapses
        for entered in [ran[s.weight][0]]
        if s.source == "spikes"
    )
    assert largest <= network.largest_spike


def check_groups(network: Network, blocks: Container[str] | None = None) -> None:
    """Removing channels of a group is silencing their neurons, or what takes them; float64.

    Args:
        network: trained, not compressed.
        blocks: whose groups are checked; None: all.
    """
    x = inputs_for(network)
    full, changed = logits(network, x), []
    groups = [g for g in network.declaration.channels if blocks is None or g.block in blocks]
    for group in groups:
        half = max(group.size // group.unit // 2, 1) * group.unit
        small = compress(network, choose(network, channel={group.name: half}))
        got = logits(small, x)
        silenced = silence(network, small.kept_channels)
        assert (got - logits(silenced, x)).abs().max() <= TOLERANCE, group.name
        changed.append(bool((got - full).abs().max() > 1e-4))
        _check_heads(group, small.kept_channels[group.name])
    # A membrane may take a change without another spike of the last neurons.
    assert sum(changed) > len(changed) / 2


def silence(network: Network, kept: Mapping[str, Tensor]) -> Network:
    """A copy whose channels outside of the kept ones have no effect; float64."""
    silenced = copy.deepcopy(network)
    declared = network.declaration
    stored = {s.name: s.weight for s in (*declared.synapses, *declared.stored)}
    for group in declared.channels:
        if group.name not in kept:
            continue
        mask = torch.zeros(group.size, dtype=torch.float64)
        mask[kept[group.name]] = 1
        layers = [layer for layer in declared.neurons if layer.channels == group.name]
        for layer in layers:
            silenced.get_submodule(layer.name).register_forward_hook(
                lambda module, args, out, mask=mask: out * mask
            )
        for name in () if layers else group.consumers:
            silenced.get_submodule(stored[name]).register_forward_pre_hook(
                lambda module, args, mask=mask: (args[0] * mask,)
            )
    return silenced


def _check_heads(group: ChannelGroup, kept: Tensor) -> None:
    """Heads shrink alike, or leave whole."""
    width = group.size // group.heads
    left = (kept // width).bincount(minlength=group.heads).unique().tolist()
    assert left == [0, width] if group.whole_heads else len(left) == 1


def check_candidate(network: Network, candidate: Candidate, folder: Path) -> None:
    """It builds, costs what was predicted, and comes back bit for bit from its file; float32."""
    predicted = static_costs(network, candidate)
    small = compress(network, candidate)
    x = inputs_for(network, batch=2, seed=5)
    expected = logits(small, x)
    assert torch.isfinite(expected).all()
    save_packed(small, folder)
    spans = spans_of(folder / MODEL)
    assert predicted.bytes == sum(end - start for start, end in spans.values())
    assert predicted.bytes == manifest_of(folder)["bytes"]
    loaded = load_packed(folder)
    assert torch.equal(logits(loaded, x), expected)
    golden = read_golden(folder)
    assert torch.equal(
        logits(loaded, torch.from_numpy(golden["inputs"])), torch.from_numpy(golden["logits"])
    )
    _check_macs(network, candidate)


def _check_macs(network: Network, candidate: Candidate) -> None:
    """torch counts matrix products and convolutions; attentions without them are added up.

    A chain costs what the one synapse costs that it is merged to.
    """
    predicted = static_costs(network, candidate)
    small = compress(network, _with_merged_chains(network, candidate))
    masked = [p for p in network.declaration.attentions if p.kind is not AttentionKind.MATRIX]
    neurons = {p.name: [f"{p.name}.{name}" for name in _TERMS[p.kind]] for p in masked}
    flat = [name for names in neurons.values() for name in names]
    with watched(small, flat) as seen, FlopCounterMode(display=False) as counter:
        logits(small, inputs_for(network, batch=1))
    counted = sum(counter.get_flop_counts()["Global"].values()) // 2
    elementwise = sum(seen[name][1].numel() for name in flat)
    assert predicted.macs - predicted.score_macs == counted + elementwise


def _with_merged_chains(network: Network, candidate: Candidate) -> Candidate:
    chosen = {kind: dict(named) for kind, named in candidate.to_dict().items()}
    chains = {s.name: 8 for s in network.declaration.synapses if s.links}
    return choose(network, **{**chosen, "weight": {**chosen.get("weight", {}), **chains}})


_TERMS = {AttentionKind.HADAMARD: ("k_lif", "q_lif"), AttentionKind.TOKEN: ("q_lif", "k_lif")}
"""Whose spikes are multiplied or summed, one operation each."""


def check_drift(network: Network, candidate: Candidate) -> None:
    """The trained network does not drift from itself; a candidate does, at every layer."""
    x = inputs_for(network, batch=3)
    traces = collect_traces(network, x, 2, samples=256)
    assert set(traces) == {layer.name for layer in network.declaration.neurons}
    own = layer_drifts(compress(network, Candidate()), traces, x, 2)
    assert set(own.values()) == {0.0}
    drifts = layer_drifts(compress(network, candidate), traces, x, 2)
    assert all(math.isfinite(drift) for drift in drifts.values())
    assert max(drifts.values()) > 0
