"""Spike-Driven Transformer v2: its heads, its time steps, its chains."""

from __future__ import annotations

import pytest
import torch
from network_checks import logits
from small_metaformers import make
from small_spikformers import choose, inputs_for, watched

from spikefront.evaluators.synops import SynOpCounter
from spikefront.spaces import BadInput, Candidate, SiteKind
from spikefront.svtmodels import compress, parent_bytes, static_costs
from spikefront.svtmodels.metaformer import MetaFormer
from spikefront.svtmodels.parts.repconv import RepConv
from spikefront.svtmodels.parts.synapse import QuantisedSynapse


def test_logits_are_the_mean_of_both_heads():
    network = make("v2 distilled")
    assert isinstance(network, MetaFormer)
    x = inputs_for(network)
    with torch.no_grad():
        first, second = network.both_heads(x)
    assert not torch.allclose(first, second, atol=0.1)
    assert torch.allclose(logits(network, x), (first + second) / 2, atol=1e-6)


def test_a_network_without_a_second_head_says_so():
    network = make("v2")
    assert isinstance(network, MetaFormer)
    with pytest.raises(BadInput, match="kd=True"):
        network.both_heads(inputs_for(network))


def test_steps_are_a_site_where_there_are_several():
    network = make("v2")
    (steps,) = (site for site in network.sites if site.kind is SiteKind.TIME)
    assert steps.size == network.time_steps == 3
    small = compress(network, choose(network, time={"steps": 2}))
    x = inputs_for(network)
    assert small.per_step(x).shape == (2, 2, 7)
    # The neurons look back only: fewer steps are the first ones.
    with torch.no_grad():
        assert torch.allclose(small.per_step(x), network.per_step(x)[:, :2], atol=1e-5)


def test_every_transformer_block_may_process_fewer_tokens():
    sites = [site for site in make("v2").sites if site.kind is SiteKind.TOKEN]
    names = [f"block3.{i}" for i in range(6)] + [f"block4.{i}" for i in range(2)]
    # 32 x 40 pixels; a sixteenth of each side, rounded up.
    assert [(site.name, site.size) for site in sites] == [(name, 6) for name in names]


def test_the_second_pointwise_sees_what_no_neuron_rounded():
    network = make("v2")
    real = {s.weight for s in network.declaration.synapses if s.source == "currents"}
    assert len(real) == 4
    spiking = {s.weight for s in network.declaration.synapses if s.source == "spikes"}
    with watched(network, real | spiking) as seen:
        logits(network, inputs_for(network))
    assert all(bool((seen[path][0] != seen[path][0].round()).any()) for path in real)
    assert all(set(seen[path][0].unique().tolist()) <= {0.0, 1.0} for path in spiking)


def test_real_currents_cost_macs_not_synops():
    network = make("v2")
    costs = static_costs(network, Candidate())
    real = [s for s in network.declaration.synapses if s.source == "currents"]
    with SynOpCounter(network) as counted:
        logits(network, inputs_for(network))
    assert not {s.name for s in real} & set(counted.by_layer)
    weights = [network.get_parameter(f"{s.weight}.weight").numel() for s in real]
    by_hand = sum(n * s.positions * 3 for n, s in zip(weights, real, strict=True))
    assert costs.current_macs == by_hand > 0


def test_a_chain_is_merged_where_it_gets_bits():
    network = make("v2")
    small = compress(network, choose(network, weight={"block3.0.attn.q": 4}))
    merged = small.get_submodule("block3.0.attn.q_conv.0")
    assert isinstance(merged, QuantisedSynapse)
    assert merged.codes.shape == (16, 16, 3, 3)
    assert isinstance(small.get_submodule("block3.0.attn.k_conv.0"), RepConv)
    stored = dict(small.stored())
    names = {synapse.name for synapse in stored}
    assert "block3.0.attn.q" in names and "block3.0.attn.q.enter" not in names
    assert "block3.0.attn.k" not in names and "block3.0.attn.k.enter" in names


def test_a_chain_is_stored_as_it_is_and_costs_what_it_amounts_to():
    network = make("v2")
    (synapse,) = (s for s in network.declaration.synapses if s.name == "block3.0.attn.q")
    dense = 16 * 16 * 9
    merged = choose(network, weight={synapse.name: 8})
    plain, changed = static_costs(network, Candidate()), static_costs(network, merged)
    assert plain.macs == changed.macs
    # 1x1 with scale and bias, depthwise, 1x1 with scale and bias, the outer scale and bias.
    chain = (256 + 32) + 144 + (256 + 32) + 32
    assert plain.parameters - changed.parameters == chain - (dense + 32)
    with SynOpCounter(network) as counted:
        x = inputs_for(network, batch=1)
        with watched(network, [synapse.weight]) as seen:
            logits(network, x)
    spikes = seen[synapse.weight][0]
    impulses = torch.nn.functional.conv2d(
        spikes.flatten(0, 1).permute(0, 3, 1, 2), torch.ones(1, 16, 3, 3), padding=1
    )
    assert counted.by_layer[synapse.name] == 16 * int(impulses.sum())


def test_parent_bytes_are_those_of_the_folded_chain():
    network = make("v2")
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    folded = sum(p.numel() for p in network.parameters()) - sum(2 * m.num_features for m in norms)
    biases = {id(network.get_submodule(s.weight)): s for s in network.declaration.stored}
    added = [
        network.get_parameter(f"{s.weight}.weight").shape[0]
        for s in biases.values()
        if s.norm and getattr(network.get_submodule(s.weight), "bias", None) is None
    ]
    assert parent_bytes(network) == 4 * (folded + sum(added))
