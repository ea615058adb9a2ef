"""Single weights that leave: against removal one by one, and what surgery makes of it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lively_networks import chosen, images_for, network_of
from small_spikformers import watched
from torch import Tensor

from spikefront.spaces import Candidate, SurgeryOptions
from spikefront.spaces.site import SiteKind
from spikefront.svtmodels import Network, compress, static_costs
from spikefront.svtmodels.parts.synapse import parameters_of, window_of
from spikefront.svtmodels.surgery.bits import quantise
from spikefront.svtmodels.surgery.density import (
    counts_by_one_threshold,
    kept_count,
    largest,
    pruned_with_compensation,
)
from spikefront.svtmodels.surgery.least_squares import damped
from spikefront.svtmodels.surgery.moments import collect_moments
from spikefront.svtmodels.surgery.prepared import PreparedSurgery

untimed = settings(deadline=None, max_examples=30)


def _problem(rows: int, columns: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, second moments of correlated spikes, and strengths of the rows."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator).double()
    hidden = torch.randn(400, 6, generator=generator) @ torch.randn(6, columns, generator=generator)
    spikes = (hidden + torch.randn(400, columns, generator=generator) > 0.5).double()
    return weight, spikes.T @ spikes / 400, torch.rand(rows, generator=generator).double() + 0.5


def _one_by_one(
    weight: Tensor, count: int, products: Tensor, strength: Tensor, block: int
) -> tuple[Tensor, Tensor]:
    """The same rule with an inverse of its own for every column."""
    order = sorted(range(len(products)), key=lambda j: (-float(products[j, j]), j))
    left, full = weight[:, order].clone(), damped(products)[order][:, order]
    inverses = [torch.linalg.inv(full[j:, j:]) for j in range(len(order))]
    prices = torch.stack([inverse[0, 0] for inverse in inverses])

    def smallest_leave(part: slice, stays: int) -> Tensor:
        scores = left[:, part].square() * strength[:, None].square() / prices[part]
        return largest(scores, stays)

    planned, mask = smallest_leave(slice(None), count), torch.zeros_like(left, dtype=torch.bool)
    for start in range(0, len(order), block):
        part = slice(start, start + block)
        mask[:, part] = smallest_leave(part, int(planned[:, part].sum()))
        for j in range(start, min(start + block, len(order))):
            gone = torch.where(mask[:, j], 0.0, left[:, j])
            left[:, j:] -= gone[:, None] * inverses[j][0] / inverses[j][0, 0]
    back, stays = torch.empty_like(left), torch.empty_like(mask)
    back[:, order], stays[:, order] = left * mask, mask
    return back, stays


@pytest.mark.parametrize("columns", [1, 20, 64, 100])
@pytest.mark.parametrize("percent", [1, 30, 50, 99])
def test_compensation_is_the_surgeon_on_single_weights(columns: int, percent: int):
    weight, products, strength = _problem(7, columns)
    count = kept_count(weight.numel(), percent)
    got, stays = pruned_with_compensation(weight, count, products, strength)
    expected, kept = _one_by_one(weight, count, products, strength, 64)
    assert torch.equal(stays, kept) and stays.sum() == count
    assert (got - expected).abs().max() < 1e-9
    assert not got[~stays].any()


def _error(off: Tensor, products: Tensor) -> float:
    return float(((off @ products) * off).sum())


def test_compensation_costs_less_than_magnitude():
    weight, products, strength = _problem(16, 80)
    for percent in (50, 30, 10):
        count = kept_count(weight.numel(), percent)
        got, _ = pruned_with_compensation(weight, count, products, torch.ones_like(strength))
        plain = weight * largest(weight.abs(), count)
        assert _error(got - weight, products) < 0.7 * _error(plain - weight, products)


def test_weak_rows_lose_most():
    weight, products, _ = _problem(6, 40)
    strength = torch.tensor([1.0, 1, 1, 1, 1, 1e-3]).double()
    _, stays = pruned_with_compensation(weight, 120, products, strength)
    assert stays[5].sum() == 0 and stays[:5].sum() == 120


def test_rounding_keeps_zeros_and_spreads_its_error_over_the_rest():
    weight, products, strength = _problem(16, 80)
    sparse, stays = pruned_with_compensation(weight, 640, products, strength)
    codes, scale = quantise(sparse, 3, products, products.diagonal(), kept=stays, refine=False)
    assert not codes[~stays].any()
    plain, step = quantise(sparse, 3, None, products.diagonal(), kept=stays)
    assert torch.equal(scale, step)
    rounded, nearest = codes * scale[:, None], plain * step[:, None]
    assert _error(rounded - sparse, products) < _error(nearest - sparse, products)


@untimed
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.data())
def test_the_largest_stay_and_of_equal_ones_the_first(values, data):
    count = data.draw(st.integers(0, len(values)))
    mask = largest(torch.tensor(values), count)
    ranked = sorted(range(len(values)), key=lambda i: (-values[i], i))
    assert set(mask.nonzero().flatten().tolist()) == set(ranked[:count])


@untimed
@given(st.integers(1, 10**6), st.integers(1, 100))
def test_counts_are_rounded_up(numbers: int, percent: int):
    assert kept_count(numbers, percent) == math.ceil(numbers * percent / 100 - 1e-9)
    assert kept_count(numbers, 100) == numbers


def test_one_threshold_keeps_the_sum():
    magnitudes = {"a": torch.tensor([[5.0, 4.0], [3.0, 2.0]]), "b": torch.tensor([1.0, 6.0])}
    assert counts_by_one_threshold(magnitudes, {"a": 2, "b": 1}) == {"a": 2, "b": 1}
    assert counts_by_one_threshold(magnitudes, {"a": 2, "b": 2}) == {"a": 3, "b": 1}
    assert counts_by_one_threshold(magnitudes, {"a": 1}) == {"a": 1}
    assert counts_by_one_threshold(magnitudes, {"b": 1, "a": 0}) == {"b": 1, "a": 0}
    assert counts_by_one_threshold(magnitudes, {}) == {}


@pytest.fixture(scope="module")
def network() -> Network:
    return network_of("spikformer_cifar10")


def _prepared(network: Network, **options: str) -> PreparedSurgery:
    images = images_for(network)
    moments = collect_moments(network, [images], len(images))
    return PreparedSurgery(network, SurgeryOptions(recovery_images=0, **options), moments)


def _weights(network: Network) -> dict[str, Tensor]:
    modules = {s.name: network.get_submodule(s.weight) for s in network.declaration.synapses}
    return {name: parameters_of(module)[0] for name, module in modules.items()}


def test_magnitude_is_the_literal_rule(network: Network):
    small = compress(network, chosen(network, density=0.3), _prepared(network, density="magnitude"))
    for name, weight in _weights(network).items():
        count = math.ceil(0.3 * weight.numel() - 1e-9)
        threshold = weight.abs().flatten().sort(descending=True).values[count - 1]
        expected = torch.where(weight.abs() >= threshold, weight, torch.zeros_like(weight))
        assert torch.equal(_weights(small)[name], expected), name
        assert small.kept_numbers[name] == count


def test_magnitude_over_the_network_is_one_threshold(network: Network):
    surgery = _prepared(network, density="magnitude", density_scope="network")
    candidate = chosen(network, density=0.3)
    small = compress(network, candidate, surgery)
    weights = _weights(network)
    everything = torch.cat([w.abs().flatten() for w in weights.values()])
    count = sum(math.ceil(0.3 * w.numel() - 1e-9) for w in weights.values())
    threshold = everything.sort(descending=True).values[count - 1]
    for name, weight in weights.items():
        expected = torch.where(weight.abs() >= threshold, weight, torch.zeros_like(weight))
        assert torch.equal(_weights(small)[name], expected), name
    assert sum(small.kept_numbers.values()) == count
    shares = {small.kept_numbers[name] / w.numel() for name, w in weights.items()}
    assert len(shares) > 3
    predicted = static_costs(network, candidate, surgery)
    assert predicted.parameters == count + _vectors(network)


def _vectors(network: Network) -> int:
    """Scales and biases of a network of floats."""
    total = 0
    for synapse in network.declaration.synapses:
        weight, bias = parameters_of(network.get_submodule(synapse.weight))
        total += len(weight) * (2 * (synapse.norm is not None) + (bias is not None))
    return total


@pytest.mark.parametrize("family", ["spikformer_cifar10", "sdt_v2"])
def test_the_mean_behind_a_pruned_synapse_stays(family: str):
    """What it loses on average goes into the bias or the batch norm; magnitude leaves it."""
    network = network_of(family)
    surgery, images = _prepared(network), images_for(network)
    # One synapse at a time, so that what enters it is what entered the trained one.
    for site in [s for s in network.sites if s.kind is SiteKind.DENSITY][::12]:
        synapse = next(s for s in network.declaration.synapses if s.name == site.name)
        if synapse.norm is None:
            continue
        small = compress(network, Candidate.of({site: 30}), surgery)
        before, after = (_behind(n, synapse.norm, images) for n in (network, small))
        assert (after - before).square().mean() > 0
        means, was = after.flatten(0, -2).mean(0), before.flatten(0, -2).mean(0)
        assert (means - was).abs().max() < 1e-3 * before.std(), site.name


def _behind(network: Network, path: str, images: Tensor) -> Tensor:
    with torch.no_grad(), watched(network, [path]) as seen:
        network(images)
    return seen[path][1]


def test_which_synapses_have_a_density():
    network = network_of("sdt_v2")
    names = {site.name for site in network.sites if site.kind is SiteKind.DENSITY}
    depthwise = {
        s.name
        for s in network.declaration.synapses
        if window_of(network.get_submodule(s.weight))["groups"] > 1
    }
    assert depthwise and names == {s.name for s in network.declaration.synapses} - depthwise


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_codes_are_zero_where_weights_left(network: Network, bits: int):
    surgery = _prepared(network)
    floats = compress(network, chosen(network, channel=0.5, density=0.3), surgery)
    codes = compress(network, chosen(network, channel=0.5, density=0.3, weight=bits), surgery)
    for synapse in network.declaration.synapses:
        weight = parameters_of(floats.get_submodule(synapse.weight))[0]
        coded = codes.get_submodule(synapse.weight).get_buffer("codes")
        assert not coded[weight == 0].any()
        assert bits > 1 or torch.equal(coded != 0, weight != 0)
        assert floats.kept_numbers[synapse.name] == kept_count(weight.numel(), 30)


def test_half_precision_is_what_float16_holds(network: Network):
    small = compress(network, chosen(network, weight=16))
    for name, weight in _weights(network).items():
        assert torch.equal(_weights(small)[name], weight.half().float())
    assert small(images_for(network)).isfinite().all()


def test_weights_beyond_float16_are_clipped(network: Network):
    wild = network_of("spikformer_cifar10")
    wild.get_parameter("head.weight").data[0, 0] = 1e6
    small = compress(wild, chosen(wild, weight=16))
    assert small.get_parameter("head.weight").abs().max() == torch.finfo(torch.float16).max
