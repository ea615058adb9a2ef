"""Blocks that process fewer tokens, against the full network with masks; what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from network_checks import check_drift, logits
from small_metaformers import make
from small_spikformers import choose, inputs_for, watched
from small_token_networks import (
    FEWER,
    each_mask,
    each_mode,
    each_network,
    prepared_with,
    token_network,
)
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spikefront.evaluators.drift import collect_traces, layer_drifts, mean_drift
from spikefront.evaluators.synops import SynOpCounter
from spikefront.svtmodels import Network, compress, static_costs
from spikefront.svtmodels.parts.neuron import LIF
from spikefront.svtmodels.parts.token_rule import TokenRule
from spikefront.svtmodels.parts.token_scores import token_scores


@each_network
@each_mask
@each_mode
def test_keeping_every_token_changes_no_bit(name, masks, mode):
    network = token_network(name)
    x = inputs_for(network)
    expected = logits(network, x)
    network.token_rule = TokenRule(masks=masks, mode=mode)
    for site in network.declaration.tokens:
        network.kept_tokens[site.name] = site.tokens
        block: Any = network.get_submodule(site.name)
        block.selector = network.selector(site.name, _grid(site.tokens))
    assert torch.equal(logits(network, x), expected)


def _grid(tokens: int) -> tuple[int, int]:
    """Of the small networks: 2 x 3, or a square."""
    return (2, 3) if tokens == 6 else (int(tokens**0.5), int(tokens**0.5))


@each_network
@each_mask
@each_mode
def test_compressed_network_is_its_masked_twin(name, masks, mode):
    """The twin runs every block in full, and undoes what it did to tokens that are out; float64.

    Nothing of a token that is out reaches another one: its spikes are silenced, wherever a block
    lets tokens see each other.
    """
    network = token_network(name, torch.float64)
    prepared = prepared_with(network, token_masks=masks, token_mode=mode)
    candidate = choose(network, token=dict(FEWER[name]))
    compressed = compress(network, candidate, prepared)
    x = inputs_for(network, batch=3)
    got = logits(compressed, x)
    assert (got - _masked_twin(network, compressed, x)).abs().max() < 1e-9
    assert (got - logits(network, x)).abs().max() > 1e-6


def _masked_twin(network: Network, compressed: Network, x: Tensor) -> Tensor:
    """Logits of the full network, each of whose blocks is masked by one choice after another."""
    sites = {site.name: site for site in network.declaration.tokens}
    alive: dict[str, Tensor] = {}
    hooks = []
    passing: dict[str, tuple[Tensor, Tensor | None]] = {}

    def enter(name: str) -> Any:
        def hook(block: Any, inputs: tuple[Tensor, ...]) -> None:
            mask = _mask_of(compressed, name, inputs[0], alive)
            passing[name] = (inputs[0], mask)

        return hook

    def silence(name: str) -> Any:
        def hook(neuron: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor] | None:
            mask = passing[name][1]
            if mask is None or inputs[0].dim() < 4:
                return None
            spread = mask.reshape(*mask.shape[:2], *inputs[0].shape[2:-1], 1)
            return (inputs[0].masked_fill(~spread, -1e9 if not isinstance(neuron, LIF) else 0.0),)

        return hook

    def leave(name: str) -> Any:
        def hook(block: Any, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor | None:
            before, mask = passing[name]
            if mask is None:
                return None
            before = before + block.conv(before) if hasattr(block, "conv") else before
            return torch.where(mask.reshape(*mask.shape[:2], *out.shape[2:-1], 1), out, before)

        return hook

    for name in sites:
        block = network.get_submodule(name)
        hooks.append(block.register_forward_pre_hook(enter(name)))
        hooks.append(block.register_forward_hook(leave(name)))
    for layer in network.declaration.neurons:
        if layer.tokens is not None:
            neuron = network.get_submodule(layer.name)
            hooks.append(neuron.register_forward_pre_hook(silence(layer.tokens)))
    try:
        return logits(network, x)
    finally:
        for hook in hooks:
            hook.remove()


def _mask_of(compressed: Network, name: str, x: Tensor, alive: dict[str, Tensor]) -> Tensor | None:
    """Which tokens pass a block, bool [T, B, N]; None: all."""
    rule, kept = compressed.token_rule, compressed.kept_tokens.get(name)
    sequence = name.rpartition(".")[0]
    stopped = alive.get(sequence) if rule.mode == "stop" else None
    if kept is None:
        return stopped
    tokens = x.flatten(2, -2)
    scores = token_scores(tokens, _grid(tokens.shape[2]), rule, name)
    by_step = scores if scores.dim() == 3 else scores.expand(x.shape[0], -1, -1)
    mask = torch.zeros_like(by_step, dtype=torch.bool)
    for step in range(mask.shape[0]):
        for image in range(mask.shape[1]):
            left = [n for n in range(mask.shape[2]) if _is_in(stopped, step, image, n)]
            best = sorted(left, key=lambda n, s=step, i=image: -by_step[s, i, n].item())
            mask[step, image, best[:kept]] = True
    alive[sequence] = mask
    return mask


def _is_in(stopped: Tensor | None, step: int, image: int, token: int) -> bool:
    return stopped is None or bool(stopped[step, image, token])


@each_network
@each_mode
def test_layers_see_really_fewer_tokens(name, mode):
    network = token_network(name)
    prepared = prepared_with(network, token_mode=mode)
    compressed = compress(network, choose(network, token=dict(FEWER[name])), prepared)
    layers = [n for n in network.declaration.neurons if n.tokens is not None]
    with watched(compressed, [layer.name for layer in layers]) as seen:
        logits(compressed, inputs_for(network))
    full = {site.name: site.tokens for site in network.declaration.tokens}
    for layer in layers:
        expected = _allowed(full, FEWER[name], mode)[layer.tokens or ""]
        assert seen[layer.name][0].flatten(2, -2).shape[2] == expected, layer.name


def _allowed(full: dict[str, int], kept: Mapping[str, int], mode: str) -> dict[str, int]:
    """Tokens of every block, going through them in order."""
    allowed: dict[str, int] = {}
    sequence, alive = "", 0
    for name, tokens in full.items():
        if name.rpartition(".")[0] != sequence:
            sequence, alive = name.rpartition(".")[0], tokens
        chosen = kept.get(name, tokens)
        allowed[name] = alive = min(alive, chosen) if mode == "stop" else chosen
    return allowed


@each_network
@each_mask
@each_mode
def test_costs_are_those_of_what_runs(name, masks, mode):
    network = token_network(name)
    prepared = prepared_with(network, token_masks=masks, token_mode=mode)
    chains = {s.name: 8 for s in network.declaration.synapses if s.links}
    candidate = choose(network, token=dict(FEWER[name]), weight=chains)
    predicted = static_costs(network, candidate, prepared)
    compressed = compress(network, candidate, prepared)
    # Attentions without matrix products: one operation per query and key, or key and value.
    masked = [p for p in network.declaration.attentions if p.mask is not None]
    terms = [f"{p.name}.{n}" for p in masked for n in ("q_lif", "k_lif")]
    sites = [f"{site}.selector" for site in compressed.processed_tokens]
    chosen: list[int] = []
    for site in sites:
        selector: Any = compressed.get_submodule(site)
        original = selector._best

        def best(x: Tensor, alive: Tensor | None, original: Any = original) -> Tensor:
            chosen.append(x.numel())
            return original(x, alive)

        selector._best = best
    with watched(compressed, terms) as seen, FlopCounterMode(display=False) as counter:
        logits(compressed, inputs_for(network, batch=1))
    ran = sum(counter.get_flop_counts()["Global"].values()) // 2
    # Watched neurons of masks by step fire on the grid; the products see what passes.
    steps, elementwise = network.time_steps, 0
    for term in terms:
        site = next(p.site for p in masked if term.startswith(p.name + ".")) or ""
        count = compressed.processed_tokens.get(site, seen[term][1].shape[2])
        elementwise += steps * count * seen[term][1].shape[-1]
    # The default criterion squares every number once.
    assert predicted.score_macs == sum(chosen) > 0
    assert predicted.macs - predicted.score_macs == ran + elementwise


def test_membranes_of_all_tokens_are_kept_where_masks_change_by_the_step():
    network = token_network("spikformer")
    candidate = choose(network, token={"block.0": 4})
    image, step = (
        static_costs(network, candidate, prepared_with(network, token_masks=masks)).state_bytes
        for masks in ("image", "step")
    )
    full = static_costs(network, choose(network)).state_bytes
    # q, k, v, what they make, both ends: 6 layers of 32 and one of 64 channels, 12 tokens less.
    assert full - image == 12 * 4 * (6 * 32 + 64)
    assert step == full


@each_network
@each_mask
def test_synops_are_those_of_the_tokens_that_pass(name, masks):
    network = token_network(name)
    x = inputs_for(network)
    candidate = choose(network, token=dict(FEWER[name]))
    compressed = compress(network, candidate, prepared_with(network, token_masks=masks))
    pointwise = [s for s in network.declaration.synapses if s.tokens in FEWER[name] and not s.links]
    paths = [synapse.weight for synapse in pointwise]
    with watched(compressed, paths) as seen, SynOpCounter(compressed) as counted:
        logits(compressed, x)
    with SynOpCounter(network) as full:
        logits(network, x)
    unit, _ = network.input_grid(pointwise[0].source)
    for synapse in pointwise:
        spikes = unit * float(seen[synapse.weight][0].sum())
        rows = len(network.get_parameter(f"{synapse.weight}.weight"))
        assert counted.by_layer[synapse.name] == rows * round(spikes)
    assert counted.total < full.total


def test_a_masked_chain_counts_only_the_spikes_of_tokens_that_pass():
    network = make("v2")
    compressed = compress(network, choose(network, token={"block3.0": 2}))
    path = "block3.0.attn.q_conv.0"
    with watched(compressed, [path, "block3.0.selector"]) as seen:
        logits(compressed, inputs_for(network))
    spikes, kept = seen[path][0].flatten(2, 3), seen["block3.0.selector"][1]
    out = torch.ones(2, 6, dtype=torch.bool).scatter(1, kept, False)
    assert spikes[:, out].abs().sum() == 0 < spikes[:, ~out].sum()


@pytest.mark.parametrize("name", ["v2", "v3"])
@each_mask
def test_drift_compares_the_tokens_that_pass(name, masks):
    network = token_network(name)
    check_drift(network, choose(network, token=dict(FEWER[name])))
    if masks == "image":
        return
    prepared = prepared_with(network, token_masks="step", token_mode="stop")
    compressed = compress(network, choose(network, token=dict(FEWER[name])), prepared)
    assert 0 < _drift(network, compressed) < 10


def _drift(network: Network, compressed: Network) -> float:
    x = inputs_for(network, batch=3)
    return mean_drift(layer_drifts(compressed, collect_traces(network, x, 2), x, 2))
