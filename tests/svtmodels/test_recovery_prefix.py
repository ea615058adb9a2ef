"""Recovery that takes up where another network left gives the same network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lively_networks import FAMILIES, chosen, images_for, network_of
from test_prefix import early, plainly, sequence

from spikefront.spaces import MAGNITUDE, Candidate
from spikefront.svtmodels import Network, compress
from spikefront.svtmodels.engine.boundaries import digests
from spikefront.svtmodels.engine.prefix_cache import MEBIBYTE, PrefixCache
from spikefront.svtmodels.parts.neuron import LIF
from spikefront.svtmodels.surgery.prepared import PreparedSurgery
from spikefront.svtmodels.surgery.recovery import recover, reference_of

METHODS = ("spread-rates", "spread", "mean", "rates")


def content(network: Network) -> tuple[dict[str, bytes], list[float]]:
    state = {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}
    return state, [m.v_threshold for m in network.modules() if isinstance(m, LIF)]


def check(prepared: PreparedSurgery, candidates: list[Candidate], method: str) -> PrefixCache:
    network, cache = prepared.network, PrefixCache(64 * MEBIBYTE)
    images = images_for(network, 2)
    reference = reference_of(network, images)
    for candidate in candidates:
        alone, shared = (compress(network, candidate, prepared) for _ in range(2))
        recover(alone, reference, images, method)
        recover(shared, reference, images, method, cache)
        assert content(shared) == content(alone)
        assert not [m for m in shared.modules() if len(m._forward_hooks) or "forward" in vars(m)]
    return cache


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_recovers_to_the_same_network(name: str) -> None:
    prepared = plainly(name)
    assert check(prepared, sequence(prepared.network), METHODS[0]).nbytes > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_stem_recovers_layer_by_layer(method: str) -> None:
    prepared = plainly("spikformer_cifar10")
    assert check(prepared, early(prepared.network), method).nbytes > 0


@pytest.mark.parametrize("method", METHODS[1:])
def test_every_method_recovers_to_the_same_network(method: str) -> None:
    prepared = plainly("sdt_v1_cifar")
    assert check(prepared, sequence(prepared.network), method).nbytes > 0


def test_tokens_that_left_for_good_stay_away() -> None:
    network = network_of("spikformer_cifar10")
    prepared = PreparedSurgery(network, replace(MAGNITUDE, tokens="random", token_mode="stop"))
    tokens = chosen(network, token=0.6).to_dict()
    candidates = [
        Candidate.from_dict({**tokens, "weight": {"block.1.mlp.fc2": bits}}, network.sites)
        for bits in (4, 6, 3)
    ]
    assert check(prepared, candidates, METHODS[0]).nbytes > 0


@pytest.mark.parametrize("method", METHODS)
def test_what_lies_before_the_first_change_stays_the_same(method: str) -> None:
    prepared = plainly("spikformer_cifar10")
    network = prepared.network
    images = images_for(network)
    small = compress(network, sequence(network)[0], prepared)
    before, state = digests(small), content(small)
    recover(small, reference_of(network, images), images, method)
    after = digests(small)
    assert after[:-1] == before[:-1]
    assert content(small) != state
