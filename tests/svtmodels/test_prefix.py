"""Prefix reuse: the same bits as a full run, whatever ran before and in whatever batches."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from lively_networks import FAMILIES, chosen, images_for, network_of

from spikefront.evaluators.synops import SynOpCounter
from spikefront.spaces import MAGNITUDE, Candidate
from spikefront.spaces.site import SiteKind
from spikefront.svtmodels import Network, compress
from spikefront.svtmodels.engine.boundaries import boundaries, digests
from spikefront.svtmodels.engine.prefix import Images, PrefixRun
from spikefront.svtmodels.engine.prefix_cache import MEBIBYTE, PrefixCache
from spikefront.svtmodels.engine.program import Program
from spikefront.svtmodels.surgery.prepared import PreparedSurgery

COUNT = 5


@cache
def plainly(name: str) -> PreparedSurgery:
    """Surgery by magnitude: what is built is of no interest here."""
    return PreparedSurgery(network_of(name), MAGNITUDE)


def late(network: Network, kind: str, share: float, level: float) -> Candidate:
    """Candidate that changes the last sites of a kind alone."""
    sites = [site for site in network.sites if site.kind.value == kind]
    touched = sites[-max(1, round(len(sites) * share)) :]
    return Candidate.of({site: site.value_at(level) for site in touched})


def sequence(network: Network) -> list[Candidate]:
    """Candidates of which many have sections in common, as in a sweep."""
    found = [late(network, "weight", share, 5) for share in (0.2, 0.2, 0.5)]
    found += [late(network, kind, 0.3, 0.5) for kind in ("channel", "token", "density")]
    return [*found, late(network, "weight", 0.2, 3)]


def early(network: Network) -> list[Candidate]:
    """Candidates that have only the first few layers in common."""
    sites = [site for site in network.sites if site.kind is SiteKind.WEIGHT][1:4]
    return [Candidate.of({site: bits}) for site in sites for bits in (5, 3, 4)]


def batches_of(count: int, seed: int) -> list[np.ndarray]:
    order = np.random.default_rng(seed).permutation(count)
    return [order[:3], order[3:]]


def check_sequence(
    prepared: PreparedSurgery, candidates: Sequence[Candidate], budget: int = 64 * MEBIBYTE
) -> tuple[PrefixCache, int, int]:
    """Run candidates both ways, each in an order of its own; the cache, work done, all work."""
    kept = PrefixCache(budget)
    images = images_for(prepared.network, COUNT)
    for seed, candidate in enumerate(candidates):
        small = compress(prepared.network, candidate, prepared)
        alone, shared = Program(small), Program(small)
        run = PrefixRun(shared, kept)
        for rows in batches_of(COUNT, seed):
            expected, found = SynOpCounter(small, alone), SynOpCounter(small, shared)
            with expected:
                logits = alone(images[rows])
            with found:
                reused = run(images[rows], Images("all", rows))
            assert torch.equal(reused, logits)
            assert found.by_layer == expected.by_layer
            assert kept.nbytes <= budget
    return kept, kept.work.run, kept.work.asked


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_and_synops_are_those_of_a_full_run(name: str) -> None:
    prepared = plainly(name)
    _, done, whole = check_sequence(prepared, sequence(prepared.network))
    assert done < 0.8 * whole


@pytest.mark.parametrize("name", ["spikformer_cifar10", "sdt_v3", "qkformer_cifar10"])
@pytest.mark.parametrize("masks", ["image", "step"])
def test_tokens_that_left_for_good_stay_away(name: str, masks: str) -> None:
    network = network_of(name)
    # By chance each block would choose others, if it could.
    options = replace(MAGNITUDE, tokens="random", token_mode="stop", token_masks=masks)
    prepared = PreparedSurgery(network, options)
    tokens = {site: site.value_at(0.6) for site in network.sites if site.kind is SiteKind.TOKEN}
    last = [site for site in network.sites if site.kind is SiteKind.WEIGHT][-3]
    first = next(iter(tokens))
    candidates = [Candidate.of({**tokens, last: bits}) for bits in (4, 6, 3)]
    candidates += [Candidate.of({first: tokens[first], last: bits}) for bits in (4, 6)]
    _, done, whole = check_sequence(prepared, candidates)
    assert done < whole


@pytest.mark.parametrize("name", ["spikformer_cifar10", "sdt_v1_cifar"])
def test_a_stem_is_reused_layer_by_layer(name: str) -> None:
    _, done, whole = check_sequence(plainly(name), early(network_of(name)))
    assert done < whole


def test_the_least_recently_used_boundaries_leave() -> None:
    prepared = plainly("spikformer_cifar10")
    candidates = sequence(prepared.network)
    kept, _, _ = check_sequence(prepared, candidates)
    everything = kept.nbytes
    _, done, whole = check_sequence(prepared, candidates, everything // 3)
    assert done < whole
    for budget in (0, 100):
        kept, done, whole = check_sequence(prepared, candidates, budget)
        assert (kept.nbytes, done) == (0, whole)


def test_what_no_other_network_has_in_common_is_not_kept() -> None:
    prepared = plainly("spikformer_cifar10")
    first = next(site for site in prepared.network.sites if site.kind is SiteKind.WEIGHT)
    candidates = [Candidate.of({first: bits}) for bits in (2, 3, 4, 5)]
    kept, done, whole = check_sequence(prepared, candidates)
    assert (kept.nbytes, done) == (0, whole)


def test_every_change_before_a_boundary_gives_another_digest() -> None:
    """And none before it: the digests of untouched sections stay."""
    prepared = plainly("spikformer_cifar10")
    network = prepared.network
    full = digests(compress(network, Candidate(), prepared))
    assert digests(compress(network, Candidate(), prepared)) == full
    assert digests(network, "another purpose")[0] != full[0]
    assert digests(compress(network, chosen(network, time=1), prepared))[0] != full[0]
    first = {boundary[-1]: at for at, boundary in enumerate(boundaries(network))}
    kinds = (SiteKind.CHANNEL, SiteKind.TOKEN, SiteKind.WEIGHT, SiteKind.STATE, SiteKind.DENSITY)
    for site in network.sites:
        if site.kind not in kinds:
            continue
        value = site.value_at(5 if site.kind in (SiteKind.WEIGHT, SiteKind.STATE) else 0.5)
        found = digests(compress(network, Candidate.of({site: value}), prepared))
        same = [a == b for a, b in zip(found, full, strict=True)]
        assert same == sorted(same, reverse=True)
        # The classifier lies behind all boundaries, and parts of the stem between some.
        last = first.get(site.block, len(same))
        changed = same.index(False) if False in same else len(same)
        assert changed <= last if site.block == "patch_embed" else changed == last


def test_constants_of_neurons_belong_to_the_digest() -> None:
    network = network_of("spikformer_cifar10")
    before = digests(network)
    neuron = network.get_submodule("block.1.mlp.fc1_lif")
    neuron.v_threshold = 0.999  # pyright: ignore
    after = digests(network)
    at = [boundary[-1] for boundary in boundaries(network)].index("block.1")
    assert after[:at] == before[:at]
    assert after[at] != before[at]


@pytest.mark.parametrize("name", FAMILIES)
def test_boundaries_are_those_of_the_program(name: str) -> None:
    network = network_of(name)
    paths = [section.path for section in Program(network).sections]
    assert [boundary[-1] for boundary in boundaries(network)][1:] == paths


def test_random_batches_of_a_set_fill_it_up() -> None:
    """Images that come in another order and company are the same images."""
    prepared = plainly("sdt_v1_cifar")
    network = prepared.network
    images, kept, draw = images_for(network, 12), PrefixCache(64 * MEBIBYTE), random.Random(0)
    for bits in (8, 6, 5, 4, 3):
        program = Program(compress(network, late(network, "weight", 0.2, bits), prepared))
        run = PrefixRun(program, kept)
        for size in (1, 3, 8):
            rows = np.array(draw.sample(range(12), size))
            assert torch.equal(run(images[rows], Images("all", rows)), program(images[rows]))
