"""Surgery computes what it claims: float64 logits against the full network, to 1e-9."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_spikformers import ARCHITECTURES, choose, few, inputs_for, small, watched
from torch import Tensor

from spikefront.spaces import SiteKind
from spikefront.svtmodels import Network, compress
from spikefront.svtmodels.declaration import ChannelGroup, Source
from spikefront.svtmodels.parts.synapse import ChannelNorm, QuantisedSynapse

NETWORKS = {name: small(name, torch.float64) for name in ARCHITECTURES}
networks = st.sampled_from(list(NETWORKS.values()))
each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))

TOLERANCE = 1e-9


def _logits(network: Network, x: Tensor) -> Tensor:
    with torch.no_grad():
        return network(x)


def _silenced(network: Network, kept: dict[str, Tensor]) -> Network:
    """The full network, in which the spikes of channels that are not kept are set to zero."""
    silenced = copy.deepcopy(network)
    for layer in network.declaration.neurons:
        if layer.channels in kept:
            sizes = {group.name: group.size for group in network.declaration.channels}
            mask = torch.zeros(sizes[layer.channels], dtype=torch.float64)
            mask[kept[layer.channels]] = 1
            silenced.get_submodule(layer.name).register_forward_hook(
                lambda module, args, out, mask=mask: out * mask
            )
    return silenced


@each_network
def test_removing_a_channel_group_is_silencing_it(network: Network):
    x = inputs_for(network)
    full = _logits(network, x)
    for group in network.declaration.channels:
        half = group.size // group.heads // 2 * group.heads
        compressed = compress(network, choose(network, channel={group.name: half}))
        logits = _logits(compressed, x)
        silenced = _silenced(network, compressed.kept_channels)
        assert (logits - _logits(silenced, x)).abs().max() <= TOLERANCE, group.name
        assert (logits - full).abs().max() > 1e-3, group.name


@few
@given(networks, st.data())
def test_removing_any_channels_is_silencing_them(network: Network, data):
    widths = {
        group.name: data.draw(st.integers(1, group.size // group.heads)) * group.heads
        for group in network.declaration.channels
    }
    compressed = compress(network, choose(network, channel=widths))
    x = inputs_for(network)
    silenced = _silenced(network, compressed.kept_channels)
    assert (_logits(compressed, x) - _logits(silenced, x)).abs().max() <= TOLERANCE


@each_network
def test_a_group_touches_its_producers_rows_and_its_consumers_columns_alone(network: Network):
    declared = {synapse.name: synapse for synapse in network.declaration.synapses}
    for group in network.declaration.channels:
        compressed = compress(network, choose(network, channel={group.name: group.heads}))
        kept = compressed.kept_channels[group.name]
        expected = {name: network.state_dict()[name] for name in compressed.state_dict()}
        for name in group.producers:
            own = (f"{declared[name].weight}.", f"{declared[name].norm}.")
            for key in expected:
                if key.startswith(own) and expected[key].dim():
                    expected[key] = expected[key][kept]
        for name in group.consumers:
            key = f"{declared[name].weight}.weight"
            expected[key] = expected[key][:, kept]
        for key, tensor in compressed.state_dict().items():
            assert torch.equal(tensor, expected[key]), (group.name, key)


@each_network
def test_every_group_is_declared_where_its_channels_come_and_go(network: Network):
    """Coupling by counting: all weights that shrink are producers or consumers."""
    for group in network.declaration.channels:
        compressed = compress(network, choose(network, channel={group.name: group.heads}))
        shrunk = {
            synapse.name
            for synapse in network.declaration.synapses
            if compressed.get_submodule(synapse.weight).weight.shape  # pyright: ignore
            != network.get_submodule(synapse.weight).weight.shape  # pyright: ignore
        }
        assert shrunk == {*group.producers, *group.consumers}


@each_network
def test_channels_that_never_fire_are_not_missed(network: Network):
    quiet = copy.deepcopy(network)
    widths = {group.name: _hush(quiet, group) for group in network.declaration.channels}
    compressed = compress(quiet, choose(quiet, channel=widths))
    x = inputs_for(network)
    logits = _logits(quiet, x)
    assert (_logits(compressed, x) - logits).abs().max() <= TOLERANCE
    assert logits.std() > 0.1
    assert compressed.widths == widths


def _hush(network: Network, group: ChannelGroup) -> int:
    """Silence every third channel of every head and give it the smallest norm; what is left."""
    declared = {synapse.name: synapse for synapse in network.declaration.synapses}
    per_head = group.size // group.heads
    silent = torch.arange(group.size).reshape(group.heads, per_head)[:, ::3].flatten()
    for name in group.producers:
        norm = declared[name].norm
        assert norm is not None
        network.get_submodule(declared[name].weight).state_dict()["weight"][silent] *= 1e-3
        network.get_submodule(norm).state_dict()["weight"][silent] = 0
        network.get_submodule(norm).state_dict()["bias"][silent] = -1
    return group.size - len(silent)


@each_network
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_quantised_weights_are_what_is_computed_with(network: Network, bits: int):
    weights = {site.name: bits for site in network.sites if site.kind is SiteKind.WEIGHT}
    compressed = compress(network, choose(network, weight=weights))
    # An image on the grid is not changed by its rounding.
    x = (inputs_for(network) * 512).round() / 512
    got, expected = _logits(compressed, x), _logits(_dequantised(network, compressed), x)
    assert (got - expected).abs().max() <= TOLERANCE
    assert got.std() > 0.01


def _dequantised(network: Network, quantised: Network) -> Network:
    """The full network with real weights that equal the integers times their scales."""
    plain = copy.deepcopy(network)
    for synapse in network.declaration.synapses:
        module = quantised.get_submodule(synapse.weight)
        assert isinstance(module, QuantisedSynapse)
        weight = module.codes.double().flatten(1) * (module.scale * module.grid)[:, None]
        target = plain.get_submodule(synapse.weight).state_dict()
        target["weight"].copy_(weight.reshape(module.codes.shape))
        if synapse.norm is None:
            target["bias"].copy_(module.bias)
            continue
        if "bias" in target:
            target["bias"].zero_()
        norm = plain.get_submodule(synapse.norm)
        assert isinstance(norm, ChannelNorm)
        state = norm.state_dict()
        state["running_mean"].zero_()
        state["running_var"].fill_(1 - norm.eps)
        state["weight"].fill_(1)
        state["bias"].copy_(module.bias)
    return plain


@each_network
def test_eight_bits_stay_close_to_the_trained_weights(network: Network):
    weights = {site.name: 8 for site in network.sites if site.kind is SiteKind.WEIGHT}
    compressed = compress(network, choose(network, weight=weights))
    for synapse in network.declaration.synapses:
        module = compressed.get_submodule(synapse.weight)
        trained = network.get_submodule(synapse.weight)
        assert isinstance(module, QuantisedSynapse)
        generator = torch.Generator().manual_seed(0)
        x = torch.randint(0, 3, (50, *_input_of(module)), generator=generator).double()
        with torch.no_grad():
            expected = trained(x)
            if synapse.norm is not None:
                expected = network.get_submodule(synapse.norm)(expected)
            assert (module(x) - expected).std() < 0.01 * expected.std(), synapse.name


def _input_of(module: QuantisedSynapse) -> tuple[int, ...]:
    channels = module.codes.shape[1]
    return (channels,) if module.padding is None else (6, 6, channels)


@each_network
def test_inputs_of_quantised_synapses_are_integers_within_their_bound(network: Network):
    weights = {site.name: 4 for site in network.sites if site.kind is SiteKind.WEIGHT}
    compressed = compress(network, choose(network, weight=weights, time={"steps": 3}))
    synapses = network.declaration.synapses
    with watched(compressed, [synapse.weight for synapse in synapses]) as seen:
        _logits(compressed, inputs_for(network))
    for synapse in synapses:
        module = compressed.get_submodule(synapse.weight)
        assert isinstance(module, QuantisedSynapse)
        steps = seen[synapse.weight][0] * module.grid
        if synapse.source is not Source.IMAGE:
            assert (steps - steps.round()).abs().max() <= 1e-9, synapse.name
        assert steps.abs().max() <= module.max_input, synapse.name
