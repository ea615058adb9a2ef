"""Children of measured points: small steps, and whole sections of the model's front anew."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ....spaces.space import Point, Space

_MIX = 0.3
_MORE = 0.65
"""Probability of one more changed axis, again and again: 2.9 axes on average."""
_DOWN = 0.6
_FAR = 0.1


def child(parents: Sequence[Point], space: Space, rng: random.Random) -> Point:
    """A child of one or two points.

    Args:
        parents: to draw from; at least one.
        space: that they lie in.
        rng: decides.
    """
    parent = rng.choice(parents)
    levels = list(parent)
    if rng.random() < _MIX:
        other = rng.choice(parents)
        levels = [o if rng.random() < 0.3 else p for p, o in zip(parent, other, strict=True)]
    _step(levels, space, rng)
    while rng.random() < _MORE:
        _step(levels, space, rng)
    return tuple(levels)


def _step(levels: list[int], space: Space, rng: random.Random) -> None:
    axis = rng.randrange(len(levels))
    highest = len(space.axes[axis].levels) - 1
    if rng.random() < _FAR:
        levels[axis] = rng.randint(0, highest)
        return
    step = -1 if rng.random() < _DOWN else 1
    levels[axis] = min(max(levels[axis] + step, 0), highest)
