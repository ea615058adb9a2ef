"""Spike-Driven Transformer v3: integer spikes, heads and tokens of its base and its large file."""

from __future__ import annotations

import pytest
import torch
from network_checks import logits
from small_metaformers import make
from small_spikformers import choose, inputs_for, watched

from spikefront.spaces import BadInput, Candidate, SiteKind
from spikefront.svtmodels import compress, static_costs
from spikefront.svtmodels.metaformer import MetaFormer
from spikefront.svtmodels.metaformer_layers import Attention
from spikefront.svtmodels.parts.drop_path import DropPath
from spikefront.svtmodels.parts.integer_neuron import IntegerNeuron

LARGE = ("v3 large", "v3 large base")


@pytest.mark.parametrize("name", ["v3", *LARGE])
def test_what_enters_a_synapse_is_whole_on_its_grid(name: str):
    network = make(name, torch.float64)
    paths = {s.weight: s.source for s in network.declaration.synapses if s.source != "image"}
    with watched(network, paths) as seen:
        logits(network, inputs_for(network))
    for path, source in paths.items():
        grid, limit = network.input_grid(source)
        counts = seen[path][0] * grid
        assert 0 <= counts.abs().max() <= limit, path
        if source == "spikes":
            assert torch.equal(counts, counts.round()), path


def test_the_last_neuron_of_the_base_file_fires_whole_numbers():
    network = make("v3")
    with watched(network, ["spike", "head"]) as seen:
        logits(network, inputs_for(network))
    spikes = seen["spike"][1]
    assert torch.equal(spikes, spikes.round())
    assert spikes.max() > 1
    assert network.input_grid(network.declaration.synapses[-1].source) == (1, 4)


def test_the_scale_stays_when_channels_leave():
    network = make("v3")
    small = compress(network, choose(network, channel={"block3.0.attn.qk": 8}))
    for net in (network, small):
        attention = net.get_submodule("block3.0.attn")
        assert isinstance(attention, Attention)
        assert attention.scale == 2 * 4**-0.5  # 16 channels on 4 heads, as trained.
    published = {32: 0.5, 56: 2 * 7**-0.5}
    wide = make("v3", embed_dim=[8, 16, 128, 56], num_heads=8)
    assert [wide.get_submodule(f"{b}.attn").scale for b in ("block3.0", "block4.0")] == list(
        published.values()
    )


def test_the_base_file_has_one_step_and_token_sites_in_its_transformer_blocks():
    network = make("v3")
    assert network.time_steps == 1
    sites = [site for site in network.sites if site.kind is SiteKind.TOKEN]
    names = [f"block3.{i}" for i in range(6)] + [f"block4.{i}" for i in range(2)]
    assert [(site.name, site.size) for site in sites] == [(name, 6) for name in names]


@pytest.mark.parametrize("name", LARGE)
def test_steps_of_the_large_file_are_alike(name: str):
    network = make(name, T=3)
    x = inputs_for(network)
    with torch.no_grad():
        steps = network.per_step(x)
    assert steps.shape == (2, 3, 7)
    assert torch.equal(steps[:, 0], steps[:, 2])
    assert torch.allclose(steps[:, 0], logits(make(name), x), atol=1e-5)


@pytest.mark.parametrize("name", LARGE)
def test_tokens_of_the_large_file_may_be_dropped(name: str):
    network = make(name)
    sites = [site for site in network.sites if site.kind is SiteKind.TOKEN]
    assert [(site.name, site.size) for site in sites] == [("block3.0", 6), ("block3.1", 6)]
    small = compress(network, choose(network, token={"block3.1": 2}))
    x = inputs_for(network)
    with watched(small, ["block3.0", "block3.1"]) as seen:
        logits(small, x)
    untouched = (seen["block3.0"][1] == seen["block3.1"][1]).all(-1).sum(-1)
    assert untouched.tolist() == [[4, 4]]


def test_heads_of_the_large_file_see_different_things():
    network = make("v3 large base")
    assert isinstance(network, MetaFormer)
    x = inputs_for(network)
    with watched(network, ["head", "head_kd"]) as seen, torch.no_grad():
        first, second = network.both_heads(x)
        mean = network(x)
    stream, spikes = seen["head"][0], seen["head_kd"][0]
    assert not torch.equal(stream, stream.round())
    assert torch.equal(spikes, (stream.clamp(0, 4) + 0.5).floor())
    assert torch.allclose(mean, (first + second) / 2, atol=1e-6)


def test_without_distillation_nothing_fires_for_a_second_head():
    network = make("v3 large")
    assert not hasattr(network, "lif")
    assert "head_kd" not in {synapse.name for synapse in network.declaration.synapses}


def test_levels_of_the_large_file():
    eight, four = make("v3 large"), make("v3 large", levels=4)
    neurons = [m for m in eight.modules() if isinstance(m, IntegerNeuron)]
    assert {(n.levels, n.norm) for n in neurons} == {(8, 8)}
    x = inputs_for(eight)
    assert not torch.allclose(logits(eight, x), logits(four, x), atol=1e-3)


def test_layer_scales_are_stored_and_counted():
    network = make("v3 large")
    scales = tuple(scale.path for scale in network.declaration.scales)
    assert scales == tuple(f"block3.{b}.layer_scale{i}" for b in (0, 1) for i in (1, 2))
    sizes = [network.get_parameter(path).numel() for path in scales]
    stored = sum(p.numel() for p in network.parameters())
    assert sizes == [16] * 4
    assert static_costs(network, Candidate()).parameters == stored


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"choice": "huge"}, "argument choice of .*'huge'.*'base', 'large'"),
        ({"drop_path_rate": 1.0}, "drop_path_rate 1.0 must be"),
        ({"drop_path_rate": "much"}, "drop_path_rate 'much' must be"),
        ({"kd": True, "num_classes": 8}, r"nb_classes 7 .* num_classes 8"),
        ({"levels": 0}, "argument levels of .*: got 0"),
    ],
)
def test_arguments_of_the_large_file_that_do_not_fit(changed: dict, message: str):
    with pytest.raises(BadInput, match=message):
        make("v3 large", **changed)


def test_drop_path_rises_over_the_blocks():
    network = make("v3 large", depths=3, drop_path_rate=0.4)
    rates = [m.rate for m in network.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0, 0.2, 0.4])


def test_drop_path_zeros_whole_images_in_training_only():
    torch.manual_seed(0)
    branch, drop = torch.ones(2, 400, 3, 5), DropPath(0.25)
    assert torch.equal(drop.eval()(branch), branch)
    dropped = drop.train()(branch)
    per_image = dropped.transpose(0, 1).flatten(1)
    assert torch.equal(per_image, per_image[:, :1].expand_as(per_image))
    assert per_image[:, 0].unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert 0.15 < float((per_image[:, 0] == 0).float().mean()) < 0.35
