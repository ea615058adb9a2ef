"""A candidate: canonical, immutable, checked, and known by its content alone."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_networks import levels, networks, untimed

from spikefront.spaces import BadInput, Candidate, Granularity, Site, SiteKind, Space

HIDDEN = Site("block.0.mlp.hidden", SiteKind.CHANNEL, 256, "encoder", "block.0")
HEADS = Site("block.0.attn.qk", SiteKind.CHANNEL, 64, "encoder", "block.0", unit=8)
TOKENS = Site("block.0", SiteKind.TOKEN, 64, "encoder", "block.0")
FC1 = Site("block.0.mlp.fc1", SiteKind.WEIGHT, 32, "encoder", "block.0")
STEPS = Site("time", SiteKind.TIME, 4, "network", "network")
SITES = (HIDDEN, HEADS, TOKENS, FC1, STEPS)

FIXED = Candidate.of({FC1: 4, HIDDEN: 96, TOKENS: 49, STEPS: 2, HEADS: 64})
FIXED_JSON = (
    '{"channel":{"block.0.mlp.hidden":96},"time":{"time":2},'
    '"token":{"block.0":49},"weight":{"block.0.mlp.fc1":4}}'
)
# Recorded keys live in ledgers and registries: these two may never change.
FIXED_KEY = "b83bb53002636583"
FULL_KEY = "44136fa355b3678a"


def test_the_key_of_a_fixed_candidate_never_changes():
    assert FIXED.to_json() == FIXED_JSON
    assert FIXED.key == FIXED_KEY
    assert Candidate().key == FULL_KEY


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_key_is_the_same_in_every_process(hash_seed):
    program = (
        "import json, sys\n"
        "from spikefront.spaces import Candidate\n"
        "print(Candidate.from_record(json.loads(sys.argv[1])).key)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, FIXED_JSON],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == FIXED_KEY


@untimed
@given(networks(), levels(), st.integers())
def test_canonical_json_is_sorted_and_minimal(sites, chosen, seed):
    space = Space.build(sites, Granularity.LAYER, chosen)
    candidate = space.sample(random.Random(seed))
    data = json.loads(candidate.to_json())
    assert candidate.to_json() == json.dumps(data, sort_keys=True, separators=(",", ":"))
    assert list(data) == sorted(data)
    assert all(list(named) == sorted(named) and named for named in data.values())
    sizes = {site.key: site.size for site in sites}
    for kind, named in data.items():
        assert all(value != sizes[kind, name] for name, value in named.items())


@untimed
@given(networks(), levels(), st.integers())
def test_the_order_of_choosing_does_not_matter(sites, chosen, seed):
    rng = random.Random(seed)
    candidate = Space.build(sites, Granularity.LAYER, chosen).sample(rng)
    shuffled = list(candidate.values(sites).items())
    rng.shuffle(shuffled)
    again = Candidate.of(dict(shuffled))
    assert again == candidate
    assert again.key == candidate.key
    assert hash(again) == hash(candidate)


@untimed
@given(networks(), levels(), st.integers())
def test_a_record_comes_back_through_json(sites, chosen, seed):
    candidate = Space.build(sites, Granularity.LAYER, chosen).sample(random.Random(seed))
    record = json.loads(json.dumps(candidate.to_dict()))
    assert Candidate.from_record(record) == candidate
    assert Candidate.from_dict(record, sites) == candidate
    assert candidate.values(sites) == {site: candidate.value(site) for site in sites}


def test_full_sizes_are_left_out():
    assert Candidate.of({site: site.size for site in SITES}) == Candidate()
    assert Candidate().to_json() == "{}"


def test_different_choices_have_different_keys():
    every = [Candidate.of({HIDDEN: kept}) for kept in range(1, HIDDEN.size + 1)]
    assert len({candidate.key for candidate in every}) == HIDDEN.size


def test_sites_of_one_name_and_two_kinds_are_told_apart():
    weight = Site("block.0", SiteKind.WEIGHT, 32, "encoder", "block.0")
    candidate = Candidate.of({TOKENS: 8, weight: 4})
    assert candidate.value(TOKENS) == 8
    assert candidate.value(weight) == 4


_REFUSED = [
    ({"chanel": {}}, "unknown site kind 'chanel'. Did you mean 'channel'?"),
    (
        {"weight": {"block.0.mlp.fc2": 4}},
        "unknown weight site 'block.0.mlp.fc2'. Did you mean 'block.0.mlp.fc1'?",
    ),
    ({"token": {"block.0.mlp.fc1": 4}}, "unknown token site 'block.0.mlp.fc1'."),
    ({"weight": 4}, "'weight' holds 4; give {site: value}"),
    ({"weight": {"block.0.mlp.fc1": 0}}, "got 0; allowed: 1..8, 16 or 32"),
    ({"weight": {"block.0.mlp.fc1": 12}}, "got 12; allowed: 1..8, 16 or 32"),
    ({"channel": {"block.0.mlp.hidden": 0}}, "got 0; allowed: 1..256"),
    ({"channel": {"block.0.mlp.hidden": 257}}, "got 257; allowed: 1..256"),
    ({"channel": {"block.0.attn.qk": 12}}, "got 12; allowed: multiples of 8 up to 64"),
    ({"token": {"block.0": -1}}, "got -1; allowed: 1..64"),
    ({"time": {"time": 5}}, "got 5; allowed: 1..4"),
    ({"time": {"time": True}}, "got True; allowed: 1..4"),
    ({"time": {"time": 2.0}}, "got 2.0; allowed: 1..4"),
    ({"time": {"time": "2"}}, "got '2'; allowed: 1..4"),
    ({"time": {"time": None}}, "got None; allowed: 1..4"),
    ([["time", 2]], "got a list; give {kind: {site: value}}"),
]


@pytest.mark.parametrize(("data", "message"), _REFUSED)
def test_from_dict_says_what_is_wrong(data, message):
    with pytest.raises(BadInput) as caught:
        Candidate.from_dict(data, SITES)
    assert message in str(caught.value)


@untimed
@given(st.one_of(st.booleans(), st.floats(), st.text(), st.none()), st.sampled_from(SITES))
def test_only_whole_numbers_are_values(value, site):
    with pytest.raises(BadInput, match=r"; allowed: "):
        Candidate.of({site: value})


def test_candidates_sites_and_spaces_are_immutable():
    space = Space.build(SITES)
    for thing, name in [(FIXED, "choices"), (HIDDEN, "size"), (space, "axes")]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, ())
    with pytest.raises(dataclasses.FrozenInstanceError):
        space.axes[0].name = "other"  # pyright: ignore[reportAttributeAccessIssue]
    nested = FIXED.to_dict()
    nested["time"]["time"] = 1
    assert FIXED.value(STEPS) == 2
