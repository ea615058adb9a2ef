from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_pruning import channel, keep, of, spaces

from spikefront.search.strategies.pruning_groups import PruningGroups
from spikefront.spaces import BadInput, Candidate, Granularity, Site, SiteKind, Space

TENTHS = tuple(tenths / 10 for tenths in range(1, 10))


def groups_of(*sites: Site, rates: tuple[float, ...] = TENTHS) -> PruningGroups:
    space = spaces(sites, {SiteKind.CHANNEL: keep(rates)})[-1]
    return PruningGroups.of(space, SiteKind.CHANNEL)


def test_rates_are_what_the_levels_take_away():
    groups = groups_of(channel("hidden", "block.0"), channel("hidden", "block.1", 2))
    assert groups.groups[0].rates == TENTHS
    assert groups.groups[1].rates == (0.3,)  # 1 of 2 stays from 0.3 to 0.9, listed as keep 0.7
    assert groups.rates == TENTHS


@given(size=st.integers(1, 30), unit=st.integers(1, 8), rate=st.sampled_from(TENTHS))
def test_a_rate_gives_the_width_that_its_keep_ratio_gives(size: int, unit: int, rate: float):
    """Also where levels of one width were merged."""
    pruned = channel("hidden", "block.0", size * unit, unit)
    groups = groups_of(pruned, channel("wide", "block.1", 100))
    if len(groups.groups) == 1:  # one width alone is no choice
        return
    wanted = pruned.value_at(1 - rate)
    assert groups.candidate({groups.groups[0].name: rate}).value(pruned) == wanted


def test_a_group_without_the_rate_loses_no_more():
    groups = groups_of(channel("hidden", "block.0"), rates=(0.25, 0.5))
    (group,) = groups.groups
    assert [group.axis.levels[group.index_at(rate)] for rate in (0.2, 0.25, 0.4, 0.9)] == [
        1.0,
        0.75,
        0.75,
        0.5,
    ]


def test_uniform_prunes_all_and_nothing_else():
    sites = [channel("hidden", "block.0"), channel("qk", "block.1", 16, 8)]
    weight = Site("fc", SiteKind.WEIGHT, 32, "encoder", "block.0")
    levels = {SiteKind.CHANNEL: keep((0.5,)), SiteKind.WEIGHT: (4,)}
    space = Space.build([weight, *sites], Granularity.LAYER, levels)
    groups = PruningGroups.of(space, SiteKind.CHANNEL)
    assert groups.uniform(0.5) == of(space, {"block.0.hidden": 0.5, "block.1.qk": 0.5})
    assert groups.uniform(0.0) == groups.candidate({}) == Candidate()


def test_share_that_really_leaves():
    (group,) = groups_of(channel("hidden", "block.0", 3)).groups
    assert group.rates == (0.2, 0.6)  # 2 of 3 are kept from 0.5 on, 1 of 3 below
    assert [group.removed(rate) for rate in (0.5, 0.6)] == pytest.approx([1 / 3, 2 / 3])


def test_block_of_a_tied_group_is_its_stage():
    sites = [channel("a", "block.0"), channel("b", "block.1")]
    tied = Space.build(sites, Granularity.STAGE, {SiteKind.CHANNEL: (0.5,)})
    assert [g.block for g in PruningGroups.of(tied, SiteKind.CHANNEL).groups] == ["encoder"]
    other = Site("stem.out", SiteKind.CHANNEL, 8, "stem", "stem")
    whole = Space.build([*sites, other], Granularity.NETWORK, {SiteKind.CHANNEL: (0.5,)})
    assert [g.block for g in PruningGroups.of(whole, SiteKind.CHANNEL).groups] == ["all"]


def test_unwanted_sites_spoil_the_group_that_they_are_tied_to():
    sites = [channel("a", "block.0"), channel("b", "block.0"), channel("a", "block.1")]
    tied = Space.build(sites, Granularity.BLOCK, {SiteKind.CHANNEL: (0.5,)})
    found = PruningGroups.of(tied, SiteKind.CHANNEL, lambda site: site.name.endswith("a"))
    assert [group.name for group in found.groups] == ["channel:block.1"]


def test_no_channels():
    weight = Site("fc", SiteKind.WEIGHT, 32, "encoder", "block.0")
    space = Space.build([weight], Granularity.LAYER, {SiteKind.WEIGHT: (4,)})
    with pytest.raises(BadInput, match=r"strategy 'psvit' prunes channels; give keep ratios in sp"):
        PruningGroups.channels(space, "psvit")
