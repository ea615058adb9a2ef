"""What holds for every space of every network."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_networks import levels, levels_of, networks, points, ratios, untimed

from spikefront.spaces import (
    DEFAULT_KINDS,
    BadInput,
    Candidate,
    Granularity,
    Site,
    SiteKind,
    Space,
)

granularities = st.sampled_from(Granularity)


@untimed
@given(networks(), granularities, levels(), st.data())
def test_every_point_is_a_legal_candidate_and_comes_back(sites, granularity, chosen, data):
    space = Space.build(sites, granularity, chosen)
    point = data.draw(points(space))
    candidate = space.decode(point)
    for site in sites:
        assert site.allows(candidate.value(site))
    assert space.encode(candidate) == point
    assert Candidate.from_dict(candidate.to_dict(), sites) == candidate


@untimed
@given(networks(), granularities)
def test_default_levels_fit_every_network(sites, granularity):
    space = Space.build(sites, granularity)
    lowest = space.decode((0,) * len(space.axes))
    assert all(site.allows(lowest.value(site)) for site in sites)
    assert {axis.kind for axis in space.axes} <= set(DEFAULT_KINDS)


@untimed
@given(networks(), levels(), st.data())
def test_what_a_coarse_space_can_say_every_finer_one_can_say(sites, chosen, data):
    spaces = [Space.build(sites, granularity, chosen) for granularity in Granularity]
    for number, coarse in enumerate(spaces):
        candidate = coarse.decode(data.draw(points(coarse)))
        for finer in spaces[number + 1 :]:
            again = finer.decode(finer.encode(candidate))
            assert again == candidate
            assert again.key == candidate.key


@untimed
@given(networks(), levels())
def test_finer_granularity_never_has_fewer_points(sites, chosen):
    sizes = [Space.build(sites, granularity, chosen).size for granularity in Granularity]
    assert sizes == sorted(sizes)


@untimed
@given(networks(), granularities, levels())
def test_full_point_changes_nothing(sites, granularity, chosen):
    space = Space.build(sites, granularity, chosen)
    identity = space.decode(space.full)
    assert identity == Candidate()
    assert all(identity.value(site) == site.size for site in sites)


@untimed
@given(networks(), granularities, levels())
def test_axes_partition_the_sites_and_sizes_multiply(sites, granularity, chosen):
    space = Space.build(sites, granularity, chosen)
    tied = [site for axis in space.axes for site in axis.sites]
    assert len(tied) == len(set(tied))
    assert all(len(axis.levels) > 1 for axis in space.axes)
    assert len({axis.name for axis in space.axes}) == len(space.axes)
    assert space.size == math.prod(len(axis.levels) for axis in space.axes)


def test_size_counts_the_distinct_candidates():
    sites = [
        Site("a", SiteKind.CHANNEL, 4, "s", "b"),
        Site("w", SiteKind.WEIGHT, 32, "s", "b"),
    ]
    space = Space.build(
        sites, levels={SiteKind.CHANNEL: (0.25, 0.26, 0.5), SiteKind.WEIGHT: (2, 4)}
    )
    every = {space.decode((i, j)).key for i in range(3) for j in range(3)}
    assert space.size == len(every) == 9


@untimed
@given(networks(), granularities, levels(), st.integers())
def test_a_seed_gives_the_same_samples(sites, granularity, chosen, seed):
    space = Space.build(sites, granularity, chosen)
    first, second = random.Random(seed), random.Random(seed)
    drawn = [space.sample(first) for _ in range(3)]
    assert drawn == [space.sample(second) for _ in range(3)]
    assert all(space.decode(space.encode(candidate)) == candidate for candidate in drawn)


def test_samples_reach_every_point():
    site = Site("w", SiteKind.WEIGHT, 32, "s", "b")
    space = Space.build([site], levels={SiteKind.WEIGHT: (2, 8)})
    rng = random.Random(0)
    assert {space.sample(rng).value(site) for _ in range(60)} == {2, 8, 32}


@untimed
@given(networks(), ratios)
def test_a_ratio_gives_the_nearest_legal_width(sites, ratio):
    for site in sites:
        if site.kind is SiteKind.CHANNEL:
            error = abs(site.value_at(ratio) - ratio * site.size)
            smallest = site.unit  # at least one unit stays, however small the ratio
            assert error <= site.unit / 2 + 1e-9 or site.value_at(ratio) == smallest


_ILLEGAL = [
    (SiteKind.CHANNEL, 0),
    (SiteKind.CHANNEL, -0.5),
    (SiteKind.CHANNEL, 1.5),
    (SiteKind.TOKEN, math.nan),
    (SiteKind.WEIGHT, 0),
    (SiteKind.WEIGHT, 9),
    (SiteKind.WEIGHT, 15),
    (SiteKind.WEIGHT, 40),
    (SiteKind.WEIGHT, 4.5),
    (SiteKind.WEIGHT, math.inf),
    (SiteKind.STATE, 3),
    (SiteKind.STATE, 17),
    (SiteKind.DENSITY, 0),
    (SiteKind.DENSITY, 1.01),
    (SiteKind.RECOVERY, 2),
    (SiteKind.RECOVERY, -1),
    (SiteKind.TIME, 0),
    (SiteKind.TIME, -1),
    (SiteKind.TIME, math.nan),
]


@pytest.mark.parametrize(("kind", "level"), _ILLEGAL)
def test_levels_out_of_range_are_refused(kind, level):
    size = 1 if kind is SiteKind.RECOVERY else 32
    sites = [Site("x", kind, size, "s", "b"), Site("w", SiteKind.WEIGHT, 32, "s", "b")]
    with pytest.raises(BadInput, match=rf"{kind} level .*out of range"):
        Space.build(sites, levels={SiteKind.WEIGHT: [2], kind: [level]})


@untimed
@given(st.sampled_from(SiteKind).flatmap(lambda kind: st.tuples(st.just(kind), levels_of(kind))))
def test_levels_in_range_are_taken(pair):
    kind, level = pair
    size = {
        SiteKind.CHANNEL: 1000,
        SiteKind.TOKEN: 1000,
        SiteKind.DENSITY: 100,
        SiteKind.RECOVERY: 1,
    }.get(kind, 32)
    sites = [Site("x", kind, size, "s", "b"), Site("t", SiteKind.TIME, 2, "s", "b")]
    space = Space.build(
        sites,
        levels={SiteKind.TIME: [1], kind: [level, 1]}
        | ({kind: [level]} if kind in (SiteKind.WEIGHT, SiteKind.STATE) else {}),
    )
    assert space.size > 1


def test_steps_above_the_networks_own_count_as_its_own():
    site = Site("time", SiteKind.TIME, 2, "network", "network")
    space = Space.build([site], levels={SiteKind.TIME: (1, 2, 3, 4)})
    assert [space.decode((i,)).value(site) for i in range(space.size)] == [1, 2]


@pytest.mark.parametrize(
    ("granularity", "names"),
    [
        ("network", ["weight"]),
        ("stage", ["weight:stem", "weight:encoder"]),
        ("block", ["weight:stem", "weight:block.0", "weight:block.1"]),
        ("layer", ["weight:a", "weight:b", "weight:c", "weight:d"]),
    ],
)
def test_granularity_ties_what_belongs_together(granularity, names):
    places = [
        ("a", "stem", "stem"),
        ("b", "encoder", "block.0"),
        ("c", "encoder", "block.1"),
        ("d", "encoder", "block.1"),
    ]
    sites = [Site(name, SiteKind.WEIGHT, 32, stage, block) for name, stage, block in places]
    space = Space.build(sites, granularity)
    assert [axis.name for axis in space.axes] == names
    lowered = space.decode((0,) * (len(names) - 1) + (len(space.axes[-1].levels) - 1,))
    untouched = [site.name for site in sites if lowered.value(site) == site.size]
    assert untouched == [site.name for site in space.axes[-1].sites]


def test_unknown_granularity_names_the_nearest():
    site = Site("w", SiteKind.WEIGHT, 32, "s", "b")
    with pytest.raises(BadInput, match=r"unknown granularity 'blok'\. Did you mean 'block'\?"):
        Space.build([site], "blok")


def test_a_space_without_a_choice_is_refused():
    site = Site("w", SiteKind.WEIGHT, 32, "s", "b")
    with pytest.raises(BadInput, match="no axis with more than one level"):
        Space.build([site], levels={SiteKind.WEIGHT: [32], SiteKind.CHANNEL: [0.5]})


@pytest.fixture
def small_space() -> Space:
    sites = [Site(name, SiteKind.WEIGHT, 32, "s", name) for name in ("a", "b")]
    return Space.build(sites, levels={SiteKind.WEIGHT: (2, 4)})


@pytest.mark.parametrize("point", [(), (0,), (0, 0, 0)])
def test_a_point_of_another_length_is_refused(small_space, point):
    with pytest.raises(BadInput, match=f"needs 2 level numbers, got {len(point)}"):
        small_space.decode(point)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_level_number_out_of_range_is_refused(small_space, index):
    with pytest.raises(BadInput, match=rf"axis weight:b: level {index} of 0\.\.2"):
        small_space.decode((0, index))


def test_encode_refuses_what_the_axes_cannot_say(small_space):
    a, b = small_space.sites
    with pytest.raises(BadInput, match=r"axis weight:a cannot express \{'a': 3\}"):
        small_space.encode(Candidate.of({a: 3}))
    tied = Space.build([a, b], Granularity.NETWORK, {SiteKind.WEIGHT: (2, 4)})
    with pytest.raises(BadInput, match=r"axis weight cannot express \{'a': 2, 'b': 4\}"):
        tied.encode(Candidate.of({a: 2, b: 4}))
    elsewhere = Candidate.of({Site("c", SiteKind.WEIGHT, 32, "s", "c"): 2})
    with pytest.raises(BadInput, match="no axis for"):
        small_space.encode(elsewhere)


@pytest.mark.parametrize(("size", "unit"), [(0, 1), (10, 4), (2, 4)])
def test_a_site_that_is_no_multiple_of_its_unit_cannot_be_declared(size, unit):
    with pytest.raises(ValueError, match=f"size {size} is no multiple of {unit}"):
        Site("x", SiteKind.CHANNEL, size, "s", "b", unit)
