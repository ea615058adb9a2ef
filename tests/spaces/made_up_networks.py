"""Hypothesis strategies: the sites of networks that do not exist, and levels for them."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from spikefront.spaces import UNTOUCHED_BITS, Site, SiteKind, Space
from spikefront.spaces.site import FULL_DENSITY, RATIO_KINDS

untimed = settings(deadline=None)
"""A busy machine must not fail a property."""

LEGAL_BITS = (1, 2, 3, 4, 5, 6, 7, 8, 16, UNTOUCHED_BITS)
LEGAL_STATES = (*range(4, 17), UNTOUCHED_BITS)

ratios = st.floats(0, 1, exclude_min=True)
_units = st.integers(1, 12)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Site, ...]:
    """Sites of one network: stages hold blocks, blocks hold sites of all kinds."""
    steps = draw(st.integers(1, 6))
    sites = [Site("time", SiteKind.TIME, steps, "network", "network")]
    sites.append(Site("network", SiteKind.RECOVERY, 1, "network", "network"))
    for stage in range(draw(st.integers(1, 2))):
        for block in range(draw(st.integers(1, 3))):
            sites += draw(_blocks(f"stage.{stage}", f"stage.{stage}.block.{block}"))
    return tuple(draw(st.permutations(sites)))


@st.composite
def _blocks(draw: st.DrawFn, stage: str, block: str) -> list[Site]:
    sites = [Site(block, SiteKind.TOKEN, draw(st.integers(1, 196)), stage, block)]
    for layer in range(draw(st.integers(1, 2))):
        name = f"{block}.layer.{layer}"
        unit = draw(_units)
        size = unit * draw(st.integers(1, 64))
        sites.append(Site(name, SiteKind.CHANNEL, size, stage, block, unit))
        sites.append(Site(name, SiteKind.WEIGHT, UNTOUCHED_BITS, stage, block))
        sites.append(Site(name, SiteKind.DENSITY, FULL_DENSITY, stage, block))
        sites.append(Site(name, SiteKind.STATE, UNTOUCHED_BITS, stage, block))
    return sites


def levels_of(kind: SiteKind) -> st.SearchStrategy[float]:
    """A level that is legal for a kind."""
    if kind in RATIO_KINDS:
        return ratios
    match kind:
        case SiteKind.WEIGHT:
            return st.sampled_from(LEGAL_BITS)
        case SiteKind.STATE:
            return st.sampled_from(LEGAL_STATES)
        case SiteKind.RECOVERY:
            return st.integers(0, 1)
        case _:
            return st.integers(1, 8)


@st.composite
def levels(draw: st.DrawFn) -> dict[SiteKind, list[float]]:
    """Levels of some kinds; the named weight levels always leave a choice."""
    kinds = draw(st.sets(st.sampled_from(SiteKind)))
    chosen = {kind: draw(st.lists(levels_of(kind), max_size=5)) for kind in sorted(kinds)}
    return chosen | {SiteKind.WEIGHT: [2, *chosen.get(SiteKind.WEIGHT, [])]}


def points(space: Space) -> st.SearchStrategy[tuple[int, ...]]:
    """A point of a space."""
    return st.tuples(*(st.integers(0, len(axis.levels) - 1) for axis in space.axes))
