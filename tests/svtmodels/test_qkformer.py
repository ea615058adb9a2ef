"""QKFormer: its variants, its sites, its costs, and the neuron that runs over the batch."""

from __future__ import annotations

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

from spikefront.evaluators.drift import collect_traces
from spikefront.evaluators.synops import SynOpCounter, attention_operations
from spikefront.spaces import BadInput, Candidate, SiteKind
from spikefront.svtmodels import Network, build_official, compress, static_costs
from spikefront.svtmodels.parts.token_attention import TokenAttention
from spikefront.svtmodels.qkformer_configurations import CONFIGURATIONS
from spikefront.svtmodels.recognise import recognise

_IMAGES = {"in_channels": 3, "num_classes": 7, "embed_dims": 64, "mlp_ratios": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "qkformer_cifar10": {**_IMAGES, "img_size_h": 16, "img_size_w": 16, "depths": 4, "T": 3},
    "qkformer_imagenet": {
        **_IMAGES,
        "img_size_h": 64,
        "img_size_w": 64,
        "num_heads": 4,
        "depths": 5,
        "T": 3,
    },
    "qkformer_cifar10dvs": {
        **_IMAGES,
        "img_size_h": 64,
        "img_size_w": 64,
        "in_channels": 2,
        "mlp_ratios": 1,
        "T": 3,
    },
}
CIFAR = "qkformer_cifar10"
each_variant = pytest.mark.parametrize("variant", VARIANTS)


def make(variant: str = CIFAR, dtype: torch.dtype = torch.float32, **changed: Any) -> Network:
    return filled(variant, {**VARIANTS[variant], **changed}, dtype)


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
@pytest.mark.parametrize("over", ["T", "TB"])
def test_the_empty_candidate_changes_no_bit(variant: str, over: str):
    network = make(variant, proj_lif_over=over)
    x = inputs_for(network)
    assert torch.equal(logits(compress(network, Candidate()), x), logits(network, x))


@each_variant
@pytest.mark.parametrize("granularity", ["network", "stage", "layer"])
def test_random_candidates(variant: str, granularity: str, tmp_path):
    network = make(variant)
    space, rng = network.space(granularity), random.Random(granularity)
    for index in range(2):
        check_candidate(network, space.sample(rng), tmp_path / str(index))


@each_variant
def test_drift(variant: str):
    network = make(variant)
    check_drift(network, network.space("layer").sample(random.Random(3)))


class TestNeuronOverTheBatch:
    @each_variant
    def test_single_images_agree_exactly(self, variant: str):
        clean, published = (make(variant, proj_lif_over=over) for over in ("T", "TB"))
        x = inputs_for(clean)[:1]
        assert torch.equal(logits(clean, x), logits(published, x))

    @each_variant
    def test_a_batch_is_mixed_in_its_order(self, variant: str):
        network = make(variant, proj_lif_over="TB")
        x = inputs_for(network, batch=3)
        together = logits(network, x)
        assert torch.equal(together[0], logits(network, x)[0])
        assert (together - logits(network, x.flip(0)).flip(0)).abs().max() > 0.01
        assert not network.batch_independent
        assert make(variant).batch_independent

    def test_it_is_one_layer_that_takes_images_for_steps(self):
        network = make(proj_lif_over="TB")
        with watched(network, ["stage3.0.ssa.proj_bn", "stage3.0.ssa.proj_lif"]) as seen:
            logits(network, inputs_for(network))
        currents, spikes = seen["stage3.0.ssa.proj_bn"][1], seen["stage3.0.ssa.proj_lif"][1]
        membrane = torch.zeros_like(currents[0, 0])
        for step in range(3):
            for image in range(2):
                membrane = membrane + (currents[step, image] - membrane) / 2
                fired = (membrane >= 1).float()
                assert torch.equal(spikes[2 * step + image, 0], fired)
                membrane = membrane * (1 - fired)

    def test_a_search_refuses_it(self):
        network = make(proj_lif_over="TB")
        with pytest.raises(BadInput, match='build it with proj_lif_over="T"'):
            collect_traces(network, inputs_for(network), 2)


def test_sites():
    sites = make().sites
    names = {kind: [s.name for s in sites if s.kind is kind] for kind in SiteKind}
    assert names[SiteKind.TOKEN] == ["stage1.0", "stage2.0", "stage3.0", "stage3.1"]
    assert names[SiteKind.CHANNEL][:7] == [
        "patch_embed1.proj_conv.out",
        "stage1.0.tssa.q",
        "stage1.0.tssa.k",
        "stage1.0.mlp.hidden",
        "patch_embed2.proj3_conv.out",
        "stage2.0.tssa.q",
        "stage2.0.tssa.k",
    ]
    assert {"stage3.0.ssa.qk", "stage3.1.ssa.v"} <= set(names[SiteKind.CHANNEL])
    assert {"patch_embed3.proj_res_conv", "stage3.0.mlp.mlp1", "head"} <= set(
        names[SiteKind.WEIGHT]
    )
    tokens = {s.name: s.size for s in sites if s.kind is SiteKind.TOKEN}
    assert tokens["stage1.0"] == 256 and tokens["stage2.0"] == 64 and tokens["stage3.0"] == 16


def test_the_shortcut_of_the_first_embedding_follows_its_fork():
    groups = {g.name: g for g in make("qkformer_cifar10dvs").declaration.channels}
    assert groups["patch_embed1.proj_conv.out"].consumers == ("patch_embed1.proj1_conv",)
    assert groups["patch_embed1.proj1_conv.out"].consumers == (
        "patch_embed1.proj2_conv",
        "patch_embed1.proj_res_conv",
    )
    assert groups["patch_embed2.proj_conv.out"].consumers == ("patch_embed2.proj4_conv",)


def test_dropped_tokens_pass_by_and_the_next_embedding_sees_the_grid():
    network = make()
    small = compress(network, choose(network, token={"stage1.0": 100}))
    with watched(small, ["stage1.0", "stage1.0.tssa", "patch_embed2"]) as seen:
        logits(small, inputs_for(network))
    before, after = seen["stage1.0"]
    assert seen["stage1.0.tssa"][0].shape == (3, 2, 100, 16)
    assert seen["patch_embed2"][0].shape == (3, 2, 16, 16, 16)
    same = (before == after).all(-1).all(0).sum(1)
    assert (same >= 156).all() and (same < 256).all()


@torch.no_grad()
def test_token_attention_is_a_mask_per_token_and_head():
    torch.manual_seed(0)
    layer = TokenAttention(8, 2, 6, 4).eval()
    x = torch.randint(0, 3, (4, 2, 5, 8)).float()
    with watched(layer, ["q_lif", "k_lif", "attn_lif", "proj_conv"]) as seen:
        layer(x)
    (_, q), (_, k), (sums, mask), (entered, _) = seen.values()
    assert q.shape[-1] == 6 and k.shape[-1] == 4
    for head in (0, 1):
        assert torch.equal(sums[..., head], q[..., 3 * head : 3 * head + 3].sum(-1))
        expected = k[..., 2 * head : 2 * head + 2] * mask[..., head : head + 1]
        assert torch.equal(entered[..., 2 * head : 2 * head + 2], expected)


@torch.no_grad()
def test_synops_of_the_attentions():
    network = make()
    token, matrix = "stage1.0.tssa", "stage3.1.ssa"
    names = [f"{token}.q_lif", *(f"{matrix}.{name}_lif" for name in ("q", "k", "v"))]
    with SynOpCounter(network) as counted, watched(network, names) as seen:
        network(inputs_for(network))
    queries, q, k, v = (output for _, output in seen.values())
    assert counted.by_layer[token] == int(queries.sum()) > 0
    assert counted.by_layer[matrix] == attention_operations(q, k, v, 8) > 0
    assert "head" not in counted.by_layer


def test_a_strided_shortcut_costs_the_positions_that_it_sees():
    network = make("qkformer_cifar10dvs")
    declared = {s.name: s for s in network.declaration.synapses}
    assert declared["patch_embed1.proj_res_conv"].positions == 8 * 8
    with SynOpCounter(network) as counted:
        name = "patch_embed1.proj_res_conv"
        with watched(network, [name]) as seen:
            logits(network, inputs_for(network))
    entered = seen[name][0]
    assert entered.shape == (3, 2, 8, 8, 8)
    assert counted.by_layer[name] == 32 * int(entered.sum()) > 0


def test_the_classifier_is_charged_on_pooled_features():
    network = make()
    costs = static_costs(network, Candidate())
    assert costs.head_macs == 64 * 7
    head = network.declaration.synapses[-1]
    assert network.input_grid(head.source) == (16 * 3, 16 * 3 * 6)


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
        asked = {"T": 4} if "T" in arguments else {}
        if configuration.architecture == "qkformer_imagenet":
            asked["num_heads"] = arguments["num_heads"]
        found, told = recognise(network.state_dict(), asked)
        assert found == configuration.architecture
        with torch.device("meta"):
            rebuilt = build_official(found, told)
        assert {n: t.shape for n, t in rebuilt.state_dict().items()} == {
            n: t.shape for n, t in network.state_dict().items()
        }

    def test_what_no_shape_tells_is_asked_for(self):
        with pytest.raises(BadInput, match=r"give T=… \(likely: 4\)"):
            recognise(make().state_dict(), {})
        with pytest.raises(BadInput, match=r"num_heads=… \(likely: 1\), T=… \(likely: 4\)"):
            recognise(make("qkformer_imagenet").state_dict(), {})
        assert recognise(make("qkformer_cifar10dvs").state_dict(), {})[0] == "qkformer_cifar10dvs"


@pytest.mark.parametrize(
    ("variant", "changed", "message"),
    [
        (CIFAR, {"proj_lif_over": "B"}, "allowed: 'T', 'TB'"),
        (CIFAR, {"img_size_h": 32}, "square inputs only: got 32 x 16"),
        (CIFAR, {"img_size_h": 18, "img_size_w": 18}, "multiple of 4"),
        (CIFAR, {"depths": 2}, "give 3 or more"),
        (CIFAR, {"embed_dims": 48}, "multiple of 32"),
        ("qkformer_imagenet", {"num_heads": 6}, "multiple of 24"),
        ("qkformer_imagenet", {"depths": 3}, "give 4 or more"),
        (CIFAR, {"T": 0}, "whole number from 1"),
        (CIFAR, {"depth": 4}, "Did you mean 'depths'"),
    ],
)
def test_unusable_arguments(variant: str, changed: dict[str, Any], message: str):
    with pytest.raises(BadInput, match=message):
        make(variant, **changed)


def test_training_reaches_every_parameter():
    network = make().train()
    network(inputs_for(network, batch=4)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
