"""Membranes of few bits: the neuron, its kernel, and what they take of memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lively_networks import FAMILIES, chosen, images_for, network_of
from small_spikformers import choose, inputs_for, small, watched
from torch import Tensor

from spikefront.evaluators.drift import collect_traces, layer_drifts
from spikefront.spaces import Candidate, SiteKind
from spikefront.svtmodels import compress, static_costs
from spikefront.svtmodels.neuron_sizes import neuron_sizes
from spikefront.svtmodels.parts import state_neuron
from spikefront.svtmodels.parts.integer_neuron import IntegerNeuron
from spikefront.svtmodels.parts.neuron import LIF
from spikefront.svtmodels.parts.state_neuron import StateLIF

untimed = settings(deadline=None, max_examples=40)
CONSTANTS = st.sampled_from([(2.0, 1.0), (2.0, 0.5), (1.7, 0.73), (3.1, 1.25)])


def _currents(seed: int, dtype: torch.dtype, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(5, 2, 3, 71, generator=generator, dtype=dtype)


def _naive(x: Tensor, tau: float, theta: float, bits: int) -> tuple[Tensor, Tensor]:
    """Spikes and membranes after each step, with a table of all levels; [T, N] of float64."""
    levels = torch.arange(-(2 ** (bits - 1)), 2 ** (bits - 1), dtype=x.dtype)
    table = levels * (theta / 2 ** (bits - 2))
    v, spikes, kept = torch.zeros_like(x[0]), [], []
    for current in x:
        h = v + (current - v) / tau
        fired = h >= theta
        left = torch.where(fired, 0.0, h)
        v = table[(left[..., None] - table).abs().argmin(-1)]
        spikes.append(fired.to(x.dtype))
        kept.append(v)
    return torch.stack(spikes), torch.stack(kept)


@untimed
@given(CONSTANTS, st.integers(4, 10), st.integers(0, 99))
def test_membranes_are_kept_on_the_nearest_level(constants, bits, seed):
    tau, theta = constants
    neuron = StateLIF(tau, theta, bits)
    x = _currents(seed, torch.float64)
    spikes, kept = _naive(x, tau, theta, bits)
    assert torch.equal(neuron(x), spikes)
    potential = neuron.potential(x)
    assert torch.equal((potential >= theta).double(), spikes)
    stored = neuron.stored(torch.where(potential >= theta, 0.0, potential))
    assert torch.equal(stored, kept)


@untimed
@given(CONSTANTS, st.integers(4, 16), st.sampled_from([torch.float32, torch.float64]))
def test_the_kernel_gives_the_bits_of_plain_torch(constants, bits, dtype):
    tau, theta = constants
    neuron = StateLIF(tau, theta, bits)
    x = _currents(bits, dtype)
    plain = neuron(x.clone().requires_grad_())
    assert torch.equal(neuron(x), plain)
    repeated = x[:1].expand(4, *x.shape[1:])
    assert torch.equal(neuron(repeated), neuron(repeated.contiguous()))


def test_plain_torch_runs_where_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch):
    neuron, x = StateLIF(2.0, 1.0, 6), _currents(0, torch.float32)
    expected = neuron(x)
    monkeypatch.setattr(state_neuron, "run_states", lambda *_: None)
    assert torch.equal(neuron(x), expected)


def test_levels_end_at_twice_the_threshold_and_ties_go_to_even():
    neuron = StateLIF(2.0, 1.0, 4)
    assert neuron.step == 0.25
    v = torch.tensor([-9.0, -2.0, -1.9, -0.375, -0.125, 0.125, 0.375, 0.4, 5.0])
    expected = [-2.0, -2.0, -2.0, -0.5, 0.0, 0.0, 0.5, 0.5, 1.75]
    assert neuron.stored(v).tolist() == expected


def test_sixteen_bits_are_nearly_a_lif():
    # Currents that leave no membrane below -2 theta, where it would be cut off.
    x = _currents(1, torch.float32).clamp(min=-1.9)
    flips = {b: int((StateLIF(2.0, 1.0, b)(x) != LIF()(x)).sum()) for b in (16, 4)}
    assert flips[16] <= 1 < flips[4]


def test_gradients_pass_the_rounding():
    # On inputs that a rounding leaves alone, gradients are those of the neuron without one.
    x = torch.tensor([[0.5], [-0.25], [0.75]], dtype=torch.float64)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    StateLIF(2.0, 1.0, 16)(mine).sum().backward()
    LIF()(theirs).sum().backward()
    assert mine.grad is not None and theirs.grad is not None
    assert mine.grad.abs().min() > 0
    assert torch.allclose(mine.grad, theirs.grad, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_are_those_of_a_real_pass(family: str):
    network = network_of(family)
    layers = [layer.name for layer in network.declaration.neurons]
    with torch.no_grad(), watched(network, layers) as ran:
        network(images_for(network, 1))
    seen = {name: entered.shape for name, (entered, _) in ran.items()}
    found = {name: (size.positions, size.channels) for name, size in neuron_sizes(network).items()}
    assert found == {name: (s[2:-1].numel(), s[-1]) for name, s in seen.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_state_bytes_are_those_of_the_membranes_that_run(family: str):
    """Of the whole network and of one with fewer channels, tokens and bits; image by image."""
    network = network_of(family)
    states = {site.name for site in network.sites if site.kind is SiteKind.STATE}
    integer = {n for n, m in network.named_modules() if isinstance(m, IntegerNeuron)}
    assert states | integer == {layer.name for layer in network.declaration.neurons}
    for candidate in (Candidate(), chosen(network, channel=0.5, token=0.5, state=5)):
        compressed, total = compress(network, candidate), 0
        for name in states:
            neuron = compressed.get_submodule(name)
            bits = neuron.bits if isinstance(neuron, StateLIF) else 32

            def count(_: object, args: tuple[Tensor, ...], bits: int = bits) -> None:
                nonlocal total
                total += -(-args[0][0].numel() * bits // 8)

            neuron.register_forward_pre_hook(count)
        with torch.no_grad():
            compressed(images_for(network, 1))
        assert static_costs(network, candidate).state_bytes == total
        assert (total > 0) == bool(states)


def test_learnt_time_constants_stay():
    network = network_of("sdt_v1_cifar")
    states = {site.name: 8 for site in network.sites if site.kind is SiteKind.STATE}
    few = compress(network, choose(network, state=states))
    for name in states:
        before, after = network.get_submodule(name), few.get_submodule(name)
        assert isinstance(after, StateLIF) and after.bits == 8
        assert (after.tau, after.v_threshold) == (before.tau, before.v_threshold)


def test_the_drift_is_that_of_the_rounded_membranes():
    network = small()
    x = inputs_for(network, batch=3)
    traces = collect_traces(network, x, 2, samples=64)
    drifts = []
    for bits in (16, 8, 4):
        states = {site.name: bits for site in network.sites if site.kind is SiteKind.STATE}
        few = compress(network, choose(network, state=states))
        drifts.append(layer_drifts(few, traces, x, 2)["patch_embed.proj_lif"])
    # What enters the first layer is unchanged: its drift is that of the range and the rounding.
    assert 0 < drifts[0] < drifts[1] < drifts[2]
