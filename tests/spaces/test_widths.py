"""Minimum widths and multiples: what holds for every space that asks for them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_networks import levels, networks, points, ratios, untimed

from spikefront.spaces import BadInput, Candidate, Granularity, Site, SiteKind, Space
from spikefront.spaces.widths import WidthRule

limits = st.fixed_dictionaries(
    {"minimum_width": st.integers(1, 80), "width_multiple": st.integers(1, 24)}
)
channels = st.tuples(st.integers(1, 12), st.integers(1, 64)).map(
    lambda pair: Site("x", SiteKind.CHANNEL, pair[0] * pair[1], "s", "b", pair[0])
)


def legal_widths(site: Site, minimum: int, multiple: int) -> list[int]:
    """All widths of a site, tried one by one."""
    return [
        width
        for width in range(1, site.size + 1)
        if width == site.size
        or (width >= minimum and width % site.unit == 0 and width % multiple == 0)
    ]


@untimed
@given(channels, ratios, limits)
def test_a_level_gives_the_nearest_legal_width(site, level, limit):
    rule = WidthRule(limit["minimum_width"], limit["width_multiple"])
    legal = legal_widths(site, rule.minimum, rule.multiple)
    found = rule.value_at(site, level)
    assert found in legal
    assert site.allows(found)
    nearest = min(abs(width - level * site.size) for width in legal)
    assert abs(found - level * site.size) <= nearest + 1e-9
    assert rule.value_at(site, 1.0) == site.size


@untimed
@given(channels, ratios, ratios, limits)
def test_a_larger_level_never_gives_a_smaller_width(site, one, other, limit):
    rule = WidthRule(limit["minimum_width"], limit["width_multiple"])
    low, high = sorted((one, other))
    assert rule.value_at(site, low) <= rule.value_at(site, high)


@untimed
@given(networks(), ratios)
def test_without_limits_widths_are_those_of_the_site(sites, level):
    for site in sites:
        if site.kind is SiteKind.CHANNEL:
            assert WidthRule().value_at(site, level) == site.value_at(level)


@untimed
@given(networks(), st.sampled_from(Granularity), levels(), limits, st.data())
def test_every_point_keeps_the_limits_and_comes_back(sites, granularity, chosen, limit, data):
    space = Space.build(sites, granularity, chosen, **limit)
    point = data.draw(points(space))
    candidate = space.decode(point)
    assert space.encode(candidate) == point
    assert space.decode(space.full) == Candidate()
    for site in sites:
        if site.kind is SiteKind.CHANNEL:
            allowed = legal_widths(site, limit["minimum_width"], limit["width_multiple"])
            assert candidate.value(site) in allowed
        assert site.allows(candidate.value(site))


@untimed
@given(networks(), levels(), limits, st.data())
def test_spaces_with_limits_nest(sites, chosen, limit, data):
    spaces = [Space.build(sites, granularity, chosen, **limit) for granularity in Granularity]
    for number, coarse in enumerate(spaces):
        candidate = coarse.decode(data.draw(points(coarse)))
        for finer in spaces[number + 1 :]:
            assert finer.decode(finer.encode(candidate)) == candidate


def test_levels_that_give_the_same_widths_merge():
    site = Site("x", SiteKind.CHANNEL, 64, "s", "b", 4)
    ratios = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
    free = Space.build([site], levels={SiteKind.CHANNEL: ratios})
    coarse = Space.build([site], levels={SiteKind.CHANNEL: ratios}, width_multiple=32)
    wide = Space.build([site], levels={SiteKind.CHANNEL: ratios}, minimum_width=41)
    assert free.size == 7
    assert [coarse.decode((i,)).value(site) for i in range(coarse.size)] == [32, 64]
    assert [wide.decode((i,)).value(site) for i in range(wide.size)] == [44, 48, 56, 64]


def test_a_group_below_the_minimum_stays_whole():
    small = Site("x", SiteKind.CHANNEL, 16, "s", "b")
    large = Site("y", SiteKind.CHANNEL, 64, "s", "b")
    space = Space.build([small, large], levels={SiteKind.CHANNEL: (0.5,)}, minimum_width=24)
    assert [axis.name for axis in space.axes] == ["channel:y"]


def test_a_full_width_that_is_no_multiple_stays_legal():
    site = Site("x", SiteKind.CHANNEL, 100, "s", "b")
    rule = WidthRule(1, 32)
    found = [rule.value_at(site, percent / 100) for percent in (1, 47, 49, 80, 97, 98, 100)]
    assert found == [32, 32, 64, 96, 96, 100, 100]
    assert rule.value_at(Site("x", SiteKind.CHANNEL, 20, "s", "b"), 0.1) == 20


def test_heads_and_multiples_go_together():
    site = Site("x", SiteKind.CHANNEL, 96, "s", "b", 6)
    widths = {WidthRule(1, 4).value_at(site, percent / 100) for percent in range(1, 101)}
    assert widths == set(range(math.lcm(6, 4), 97, 12))


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None])
@pytest.mark.parametrize("name", ["minimum_width", "width_multiple"])
def test_limits_that_are_no_whole_numbers_are_refused(name: str, value: Any):
    site = Site("x", SiteKind.CHANNEL, 8, "s", "b")
    with pytest.raises(BadInput, match=rf"{name} is {value!r}; give a whole number"):
        Space.build([site], **{name: value})
