"""What a network declares about itself, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from small_spikformers import ARCHITECTURES, CIFAR, arguments_of, inputs_for, small, watched

from spikefront.spaces import DEFAULT_KINDS, BadInput, Granularity, SiteKind
from spikefront.svtmodels import Network, build_official
from spikefront.svtmodels.parts.neuron import LIF
from spikefront.svtmodels.parts.synapse import parameters_of


@pytest.fixture(params=ARCHITECTURES)
def network(request) -> Network:
    return small(request.param)


def test_every_weight_that_acts_is_a_declared_synapse(network: Network):
    declared = {f"{synapse.weight}.weight" for synapse in network.declaration.synapses}
    weights = {n for n, p in network.named_parameters() if p.dim() > 1 and n != "pos_embed"}
    assert declared == weights
    norms = {s.norm for s in network.declaration.synapses if s.norm is not None}
    assert norms == {n.removesuffix(".running_mean") for n in network.state_dict() if "_mean" in n}


def test_every_neuron_layer_is_declared_in_the_order_of_signals(network: Network):
    layers = [name for name, module in network.named_modules() if isinstance(module, LIF)]
    with watched(network, layers) as seen:
        network(inputs_for(network, batch=1))
    assert [layer.name for layer in network.declaration.neurons] == list(seen)
    assert len(seen) == len(layers)


def test_declared_positions_and_sizes_are_those_that_run(network: Network):
    synapses = network.declaration.synapses
    with watched(network, [synapse.weight for synapse in synapses]) as seen:
        network(inputs_for(network, batch=1))
    for synapse in synapses:
        positions = math.prod(seen[synapse.weight][1].shape[:-1])
        once = synapse.source in ("image", "pooled")
        assert positions == synapse.positions * (1 if once else 4), synapse.name
    modules = {s.name: network.get_submodule(s.weight) for s in network.declaration.synapses}
    for group in network.declaration.channels:
        for name in group.producers:
            assert parameters_of(modules[name])[0].shape[0] == group.size
        for name in group.consumers:
            assert parameters_of(modules[name])[0].shape[1] == group.size


def test_residual_sums_stay_within_their_bound(network: Network):
    with watched(network, ["block.0", "block.1"]) as seen:
        network(inputs_for(network, batch=4))
    largest = max(output.max().item() for _, output in seen.values())
    assert 2 < largest <= network.largest_spike == 6


def test_sites_are_unique_and_name_modules(network: Network):
    sites = network.sites
    assert len({site.key for site in sites}) == len(sites)
    assert {site.kind for site in sites} == set(SiteKind)
    names = {site.name for site in sites}
    assert {"patch_embed.proj_conv.out", "block.0.attn.qk", "block.0.attn.v"} <= names
    assert {"block.0.mlp.hidden", "block.0", "block.0.mlp.fc1", "head", "steps"} <= names
    qk = next(site for site in sites if site.name == "block.0.attn.qk")
    assert (qk.size, qk.unit, qk.stage, qk.block) == (32, 4, "encoder", "block.0")


def test_spaces_take_kinds_levels_or_nothing(network: Network):
    assert {axis.kind for axis in network.space().axes} == set(DEFAULT_KINDS)
    only = network.space(Granularity.NETWORK, axes=["weight", SiteKind.TIME])
    assert [axis.kind for axis in only.axes] == [SiteKind.WEIGHT, SiteKind.TIME]
    levels = network.space("network", axes={SiteKind.WEIGHT: [4, 8]})
    assert [axis.levels for axis in levels.axes] == [(4, 8, 32)]
    with pytest.raises(BadInput, match="unknown axis 'tokens'; allowed: channel, density, recov"):
        network.space(axes=["tokens"])
    with pytest.raises(BadInput, match="Did you mean 'block'"):
        network.space("blocks")


def test_inputs_of_the_wrong_shape_are_refused(network: Network):
    x = inputs_for(network)
    for wrong in (x[0], x[..., :-1], x[..., 0, :, :], x[None]):
        with pytest.raises(BadInput, match=r"input of shape \(.*expected \[B, "):
            network(wrong)
    assert network(x[:0]).shape == (0, 7)


def test_events_may_come_in_any_number_of_frames():
    network = small("spikformer_cifar10dvs")
    frames = inputs_for(network)
    assert network.per_step(frames[:, :2]).shape == (2, 2, 7)
    longer = torch.cat([frames, frames], dim=1)
    assert torch.equal(network(longer), network(frames))


class TestArguments:
    """Official constructor arguments."""

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"embed_dim": 64}, "Did you mean 'embed_dims'"),
            ({"num_heads": 5}, "embed_dims 32 must be a multiple of num_heads 5"),
            ({"embed_dims": 36}, "of 8"),
            ({"num_heads": 0}, "num_heads of Spikformer: got 0"),
            ({"num_heads": "4"}, "num_heads of Spikformer: got '4'"),
            ({"embed_dims": 32.0}, "embed_dims of Spikformer: got 32.0"),
            ({"depths": 0}, "depths of Spikformer: got 0"),
            ({"num_classes": None}, "num_classes of Spikformer: got None"),
            ({"T": -1}, "T of Spikformer: got -1"),
            ({"img_size_h": 18}, "img_size_h 18 must be a multiple of 4"),
            ({"mlp_ratios": 0}, "mlp_ratios 0"),
            ({"mlp_ratios": "4"}, "mlp_ratios '4'"),
        ],
    )
    def test_refused(self, changed, message):
        with pytest.raises(BadInput, match=message):
            build_official(CIFAR, {**arguments_of(), **changed})

    def test_grid_follows_the_pooling(self):
        with pytest.raises(BadInput, match="img_size_w 24 must be a multiple of 16"):
            build_official(
                "spikformer_imagenet", arguments_of("spikformer_imagenet", img_size_w=24)
            )

    def test_unknown_architecture(self):
        with pytest.raises(BadInput, match="Did you mean 'spikformer_cifar10'"):
            build_official("spikformer_cifar", {})

    def test_fractional_hidden_width(self):
        network = small(mlp_ratios=2.5, depths=1)
        (hidden,) = (s for s in network.sites if s.name == "block.0.mlp.hidden")
        assert hidden.size == 80

    def test_oblong_images(self):
        network = small(img_size_h=8, img_size_w=24, depths=1)
        assert network.declaration.tokens[0].tokens == 12
        assert network(inputs_for(network)).shape == (2, 7)
