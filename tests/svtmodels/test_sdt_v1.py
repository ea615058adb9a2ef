"""Spike-Driven Transformer v1: its variants, its sites, its costs."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
import torch
from network_checks import (
    check_call,
    check_candidate,
    check_declaration,
    check_drift,
    check_groups,
    filled,
    logits,
)
from small_spikformers import choose, inputs_for, watched
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from spikefront.evaluators.synops import SynOpCounter
from spikefront.spaces import BadInput, Candidate, SiteKind
from spikefront.svtmodels import Network, build_official, compress, static_costs
from spikefront.svtmodels.parts.parametric_neuron import ParametricLIF
from spikefront.svtmodels.recognise import recognise
from spikefront.svtmodels.sdt_v1_configurations import CONFIGURATIONS

BASE: dict[str, Any] = {
    "img_size_h": 16,
    "img_size_w": 16,
    "in_channels": 3,
    "num_classes": 7,
    "embed_dims": 32,
    "num_heads": 4,
    "mlp_ratios": 2,
    "depths": 2,
    "T": 3,
    "pooling_stat": "0011",
}
VARIANTS: dict[str, dict[str, Any]] = {
    "images": {},
    "early pooling": {"pooling_stat": "1101", "img_size_h": 32},
    "plif": {"spike_mode": "plif"},
    "inner shortcut": {"mlp_ratios": 1},
    "events": {"in_channels": 2},
    "eroded events": {"in_channels": 2, "dvs_mode": True, "TET": True},
}


def make(variant: str, dtype: torch.dtype = torch.float32) -> Network:
    network = filled("sdt_v1", {**BASE, **VARIANTS[variant]}, dtype)
    for index, module in enumerate(network.modules()):
        if isinstance(module, ParametricLIF):  # Time constants that are not the default's.
            module.w.data.fill_(0.4 * ((index % 5) - 2))
    return network


each_variant = pytest.mark.parametrize("variant", VARIANTS)


@each_variant
def test_a_call_is_its_own(variant: str):
    check_call(make(variant))


@each_variant
def test_the_declaration_is_what_runs(variant: str):
    check_declaration(make(variant))


@each_variant
def test_removing_a_group_is_silencing_it(variant: str):
    check_groups(make(variant, torch.float64))


@each_variant
def test_the_empty_candidate_changes_no_bit(variant: str):
    network = make(variant)
    x = inputs_for(network)
    assert torch.equal(logits(compress(network, Candidate()), x), logits(network, x))


@each_variant
@pytest.mark.parametrize("granularity", ["network", "block", "layer"])
def test_random_candidates(variant: str, granularity: str, tmp_path):
    network = make(variant)
    space, rng = network.space(granularity), random.Random(granularity)
    for index in range(3):
        check_candidate(network, space.sample(rng), tmp_path / str(index))


@each_variant
def test_drift(variant: str):
    network = make(variant)
    check_drift(network, network.space("layer").sample(random.Random(3)))


def test_sites():
    names = {kind: {s.name for s in make("images").sites if s.kind is kind} for kind in SiteKind}
    assert {"patch_embed.proj_conv.out", "block.0.attn.qkv", "block.1.mlp.hidden"} <= names[
        SiteKind.CHANNEL
    ]
    assert names[SiteKind.TOKEN] == {"block.0", "block.1"}
    assert {"patch_embed.rpe_conv", "block.0.attn.proj", "block.0.mlp.fc2", "head"} <= names[
        SiteKind.WEIGHT
    ]


def test_eroded_heads_leave_whole_and_tokens_stay():
    network = make("eroded events")
    qkv = next(site for site in network.sites if site.name == "block.0.attn.qkv")
    assert (qkv.size, qkv.unit) == (32, 8)
    assert not [site for site in network.sites if site.kind is SiteKind.TOKEN]


def test_an_inner_shortcut_ties_the_hidden_channels():
    names = {site.name for site in make("inner shortcut").sites if site.kind is SiteKind.CHANNEL}
    assert "block.0.attn.qkv" in names
    assert not any("hidden" in name for name in names)
    assert "block.0.mlp.fc1" in {s.name for s in make("inner shortcut").declaration.synapses}


def test_the_classifier_sees_the_spikes_of_every_step():
    network = make("images")
    head = network.declaration.synapses[-1]
    assert network.input_grid(head.source) == (1, 1)
    with watched(network, ["head"]) as seen:
        logits(network, inputs_for(network))
    spikes = seen["head"][0]
    assert spikes.shape == (3, 2, 32)
    assert spikes.unique().tolist() == [0, 1]


def test_a_quantised_classifier_sums_spikes_exactly():
    network = make("images")
    small = compress(network, choose(network, weight={"head": 4}))
    x = inputs_for(network)
    with watched(small, ["head"]) as seen:
        got = logits(small, x)
    module: Any = small.get_submodule("head")
    exact = seen["head"][0].long() @ module.codes.long().T
    assert torch.equal(got, (exact * module.scale + module.bias).mean(0))


@torch.no_grad()
def test_synops_of_the_attention_are_coincidences():
    network = make("images")
    with (
        SynOpCounter(network) as counted,
        watched(network, ["block.1.attn.k_lif", "block.1.attn.v_lif", "head_lif"]) as seen,
    ):
        network(inputs_for(network))
    (_, k), (_, v), (_, last) = seen.values()
    assert counted.by_layer["block.1.attn"] == int((k * v).sum()) > 0
    assert counted.by_layer["head"] == 7 * int(last.sum()) > 0
    assert "patch_embed.proj_conv" not in counted.by_layer


@torch.no_grad()
def test_synops_of_eroded_attention_are_what_is_summed():
    network = make("eroded events")
    with (
        SynOpCounter(network) as counted,
        watched(network, ["block.0.attn.k_lif", "block.0.attn.v_lif"]) as seen,
    ):
        network(inputs_for(network))
    window = nn.MaxPool3d((1, 3, 3), 1, (0, 1, 1))

    def erode(x: Tensor) -> Tensor:
        return torch.stack([window(step.contiguous()) for step in x])

    def heads(spikes: Tensor) -> Tensor:  # [T, B, N, C], eroded over the grid, by heads.
        maps = spikes.transpose(2, 3).unflatten(3, (4, 4))
        return erode(maps).flatten(3).transpose(2, 3).unflatten(3, (4, 8)).transpose(2, 3)

    k, v = (heads(output) for _, output in seen.values())
    pairs = erode(k * v)
    assert counted.by_layer["block.0.attn"] == int(pairs.sum()) > int((k * v).sum())
    assert counted.by_layer["patch_embed.proj_conv"] > 0  # Event counts are accumulates.


def test_costs_follow_what_the_classifier_and_the_first_layer_see():
    images, events = (static_costs(make(name), Candidate()) for name in ("images", "events"))
    assert (images.head_macs, events.head_macs) == (0, 0)
    assert images.first_macs == 16 * 16 * 4 * 3 * 9
    assert events.first_macs == 0


class TestLearntTimeConstants:
    def test_keys(self):
        lif, plif = make("images"), make("plif")
        added = set(plif.state_dict()) - set(lif.state_dict())
        block = ("shortcut", "q", "k", "v", "attn", "talking_heads")
        expected = {f"block.{i}.attn.{name}_lif.w" for i in (0, 1) for name in block}
        expected |= {f"block.{i}.mlp.fc{n}_lif.w" for i in (0, 1) for n in (1, 2)}
        expected |= {f"patch_embed.proj_lif{n}.w" for n in ("", 1, 2, 3)}
        assert added == expected | {"patch_embed.rpe_lif.w", "head_lif.w"}
        assert all(plif.state_dict()[name].shape == () for name in added)

    def test_the_default_is_the_ordinary_neuron(self):
        lif, plif = make("images"), make("plif")
        for module in plif.modules():
            if isinstance(module, ParametricLIF):
                module.w.data.zero_()
        x = inputs_for(lif)
        assert torch.equal(logits(lif, x), logits(plif, x))

    @pytest.mark.parametrize("w", [-2.0, -0.3, 0.0, 1.7])
    @pytest.mark.parametrize("training", [False, True])
    def test_spikes_are_those_of_spikingjelly(self, w: float, training: bool):
        x = torch.randn(5, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        ours, theirs = _pair(w)
        spikes = ours.train(training)(2 * x)
        assert torch.equal(spikes, theirs(2 * x))
        assert 0 < float(spikes.detach().mean()) < 1
        assert torch.equal(ours(2 * x), spikes)  # Nothing is left behind.

    def test_the_time_constant_is_learnt(self):
        x = torch.randn(5, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        ours, theirs = _pair(0.6)
        ours.train()(x).sum().backward()
        theirs(x).sum().backward()
        assert ours.w.grad is not None and theirs.w.grad is not None
        assert ours.w.grad == pytest.approx(theirs.w.grad) and ours.w.grad != 0

    def test_potential(self):
        ours, _ = _pair(0.6)
        x = torch.full((2, 1), 0.5, dtype=torch.float64)
        first = 0.5 * float(torch.tensor(0.6, dtype=torch.float64).sigmoid())
        second = first + (0.5 - first) * first / 0.5
        assert ours.potential(x).flatten().tolist() == pytest.approx([first, second])


def _pair(w: float) -> tuple[ParametricLIF, neuron.ParametricLIFNode]:
    theirs = neuron.ParametricLIFNode(
        surrogate_function=surrogate.Sigmoid(4.0), detach_reset=True, step_mode="m"
    )
    ours = ParametricLIF()
    for module in (ours, theirs):
        module.double().w.data.fill_(w)
    return ours, theirs


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=list(CONFIGURATIONS))
def test_published_networks(configuration):
    with torch.device("meta"):
        network = build_official(configuration.architecture, configuration.arguments)
    assert sum(p.numel() for p in network.parameters()) == configuration.parameters
    assert network.time_steps == configuration.time_steps
    assert network.input_shape[-2:] == (configuration.resolution,) * 2


class TestRecognition:
    @pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=list(CONFIGURATIONS))
    def test_published_networks(self, configuration):
        arguments = dict(configuration.arguments)
        with torch.device("meta"):
            network = build_official(configuration.architecture, arguments)
        asked = {"pooling_stat": arguments["pooling_stat"], "T": arguments["T"]}
        if arguments["in_channels"] == 2:
            asked["dvs_mode"] = arguments.get("dvs_mode", False)
        found, told = recognise(network.state_dict(), asked)
        assert found == "sdt_v1"
        with torch.device("meta"):
            rebuilt = build_official(found, told)
        assert rebuilt.input_shape == network.input_shape
        assert {n: t.shape for n, t in rebuilt.state_dict().items()} == {
            n: t.shape for n, t in network.state_dict().items()
        }
        assert told["num_heads"] == 8

    def test_what_no_shape_tells_is_asked_for(self):
        with pytest.raises(BadInput, match=r"pooling_stat=… \(likely: 0011\), T=… \(likely: 4\)"):
            recognise(make("images").state_dict(), {})
        with pytest.raises(BadInput, match=r"dvs_mode=… \(likely: True, False\)"):
            recognise(make("events").state_dict(), {"T": 10})

    def test_neurons(self):
        _, told = recognise(make("plif").state_dict(), {"T": 3, "pooling_stat": "0011"})
        assert told["spike_mode"] == "plif"
        assert told["mlp_ratios"] == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pooling_stat": "001"}, "four flags"),
        ({"pooling_stat": "0021"}, "four flags"),
        ({"spike_mode": "alif"}, "allowed: 'lif', 'plif'"),
        ({"dvs_mode": "yes"}, "allowed: False, True"),
        ({"img_size_h": 18}, "multiple of 4"),
        ({"num_heads": 5}, "multiple of num_heads 5"),
        ({"T": 0}, "whole number from 1"),
        ({"pooling_stats": "0011"}, "Did you mean 'pooling_stat'"),
    ],
)
def test_unusable_arguments(changed: dict[str, Any], message: str):
    with pytest.raises(BadInput, match=message):
        build_official("sdt_v1", {**BASE, **changed})


def test_training_reaches_every_parameter_that_acts():
    network = make("plif").train()
    network(inputs_for(network, batch=4)).square().sum().backward()
    without = {name for name, p in network.named_parameters() if p.grad is None}
    idle = {
        f"block.{i}.attn.{name}" for i in (0, 1) for name in ("talking_heads.weight", "attn_lif.w")
    }
    assert without == idle | {"patch_embed.rpe_lif.w"}


def test_a_network_can_be_copied():
    network = make("plif")
    x = inputs_for(network)
    assert torch.equal(logits(copy.deepcopy(network), x), logits(network, x))
