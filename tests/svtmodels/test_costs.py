"""Static costs, predicted before anything is built, against what is then built."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from packed_files import MODEL, manifest_of, spans_of
from small_spikformers import (
    ARCHITECTURES,
    any_candidates,
    choose,
    few,
    inputs_for,
    small,
    space_candidates,
)
from torch.utils.flop_counter import FlopCounterMode

from spikefront.spaces import BadInput, Candidate, SiteKind
from spikefront.svtmodels import (
    Network,
    build_official,
    compress,
    parent_bytes,
    save_packed,
    static_costs,
)

NETWORKS = {name: small(name) for name in ARCHITECTURES}
networks = st.sampled_from(list(NETWORKS.values()))
EVENTS = {"spikformer_cifar10dvs"}
each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))


@few
@given(networks, st.data())
def test_bytes_and_parameters_are_those_of_the_packed_file(network: Network, data):
    candidate = data.draw(any_candidates(network))
    predicted = static_costs(network, candidate)
    with tempfile.TemporaryDirectory() as parent:
        folder = save_packed(compress(network, candidate), Path(parent) / "packed")
        spans = spans_of(folder / MODEL)
        entries = manifest_of(folder)["tensors"]
        recorded = manifest_of(folder)["bytes"]
    assert predicted.bytes == sum(end - start for start, end in spans.values()) == recorded
    stored = sum(
        entry.get("kept", math.prod(entry["shape"]))
        for name, entry in entries.items()
        if name != "neurons" and not name.endswith(".bitmap")
    )
    assert predicted.parameters == stored


@few
@given(networks, st.data())
def test_macs_are_those_of_the_operations_that_run(network: Network, data):
    """torch counts the multiply-accumulates of every matrix product and convolution that runs.

    Token scores are neither; what they cost is derived from what the selectors receive.
    """
    candidate = data.draw(space_candidates(network))
    predicted = static_costs(network, candidate)
    compressed = compress(network, candidate)
    scored: list[int] = []
    for site in compressed.declaration.tokens:
        selector = getattr(compressed.get_submodule(site.name), "selector")  # noqa: B009
        if selector is not None:
            selector.register_forward_hook(lambda m, args, out: scored.append(args[0].numel()))
    x = inputs_for(network, batch=1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        compressed(x)
    counted = {name: sum(ops.values()) // 2 for name, ops in counter.get_flop_counts().items()}
    # One square per scored number.
    assert predicted.score_macs == sum(scored)
    assert predicted.macs - predicted.score_macs == counted["Global"]
    first = counted["Spikformer.patch_embed.proj_conv"]
    assert predicted.first_macs == (0 if network.architecture in EVENTS else first)
    assert predicted.head_macs == counted["Spikformer.head"]


@each_network
def test_parent_bytes_are_weights_and_biases_after_folding(network: Network):
    weights = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if name.endswith(".weight") and tensor.dim() > 1
    }
    assert len(weights) == len(network.declaration.synapses)
    numbers = sum(tensor.numel() + len(tensor) for tensor in weights.values())
    assert parent_bytes(network) == 4 * numbers


def test_parent_bytes_of_the_published_network():
    # 9,330,874 parameters of Spikformer-4-384; four pairs of unused LayerNorms, and folding
    # turns weight and bias of each of 29 batch norms (and the bias before it) into one bias.
    network = build_official("spikformer_cifar10", {"img_size_h": 32, "img_size_w": 32})
    norms = 48 + 96 + 192 + 384 + 384 + 4 * (5 * 384 + 1536)
    assert sum(p.numel() for p in network.parameters()) == 9_330_874
    biases = 4 * (5 * 384 + 1536)
    folded = 9_330_874 - 4 * 2 * 2 * 384 - 2 * norms - biases + norms
    assert parent_bytes(network) == 4 * folded


@each_network
def test_every_kind_of_compression_saves_what_it_should(network: Network):
    full = static_costs(network, Candidate())
    channel = static_costs(network, choose(network, channel={"block.0.mlp.hidden": 10}))
    assert channel.bytes < full.bytes
    assert channel.parameters < full.parameters
    assert channel.macs < full.macs
    token = static_costs(network, choose(network, token={"block.0": 2}))
    assert (token.bytes, token.parameters) == (full.bytes, full.parameters)
    assert token.macs < full.macs
    assert token.score_macs > 0 == full.score_macs
    time = static_costs(network, choose(network, time={"steps": 2}))
    assert (time.bytes, time.parameters) == (full.bytes, full.parameters)
    assert time.macs < full.macs
    assert time.head_macs == full.head_macs == 32 * 7
    weight = static_costs(network, choose(network, weight={"block.0.mlp.fc1": 4}))
    assert weight.bytes < full.bytes
    assert weight.macs == full.macs


@each_network
def test_the_first_synapse_is_charged_once_for_a_static_image(network: Network):
    halved = static_costs(network, choose(network, time={"steps": 2}))
    full = static_costs(network, Candidate())
    assert full.first_macs == halved.first_macs
    # Event counts are spikes: they cost operations per event, none of them here.
    assert (full.first_macs == 0) == (network.architecture in EVENTS)


@each_network
def test_fewer_bits_never_take_more_bytes(network: Network):
    sites = [site.name for site in network.sites if site.kind is SiteKind.WEIGHT]
    sizes = [
        static_costs(network, choose(network, weight=dict.fromkeys(sites, bits))).bytes
        for bits in (2, 3, 4, 5, 6, 7, 8)
    ]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] < static_costs(network, Candidate()).bytes


def test_costs_are_those_of_a_network_that_nobody_built():
    network = small()
    before = {name: id(module) for name, module in network.named_modules()}
    static_costs(network, choose(network, channel={"block.0.attn.qk": 4}, weight={"head": 2}))
    assert {name: id(module) for name, module in network.named_modules()} == before


def test_a_candidate_of_another_network_is_refused():
    with pytest.raises(BadInput, match=r"Did you mean 'block\.0\.mlp\.hidden'"):
        static_costs(small(), Candidate((("channel", "block.0.mlp.hiddn", 4),)))
