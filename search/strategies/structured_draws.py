"""Points to begin a search with."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ...spaces.site import SiteKind
from ...spaces.space import Point, Space


def structured_point(spaces: Sequence[Space], index: int, rng: random.Random) -> Point:
    """Number `index` of the points that a sampler is given to learn from first.

    The first one is the trained network itself; the others have bit-widths drawn at all
    granularities in turn, from one for the whole network to one per layer, and at most two
    structural changes (channels, tokens, steps). Draws on all axes at once mostly hold a ruined
    layer: 33 of the first 40 on the digits network were rejected.

    Args:
        spaces: coarse to fine; the point is one of the last.
        index: from 0.
        rng: of this one point.
    """
    searched = spaces[-1]
    if index == 0:
        return searched.full
    space = spaces[index % len(spaces)]
    point = list(space.full)
    structural = []
    for number, axis in enumerate(space.axes):
        if axis.kind is SiteKind.WEIGHT:
            point[number] = rng.randrange(len(axis.levels))
        else:
            structural.append(number)
    for number in rng.sample(structural, min(rng.randrange(3), len(structural))):
        point[number] = rng.randrange(len(space.axes[number].levels))
    return searched.encode(space.decode(point))
