"""The colours of energy: a perceptually uniform ramp, cut to what shows on each background."""

from __future__ import annotations

import math
from itertools import pairwise

STEPS = 16
"""Colours of the ramp. Steps, so that a theme can swap them as CSS variables."""

# matplotlib's plasma at 0.0, 0.1, ... 1.0 (public domain, CC0).
_PLASMA = (
    "0d0887", "41049d", "6a00a8", "8f0da4", "b12a90", "cc4778",
    "e16462", "f2844b", "fca636", "fcce25", "f0f921",
)  # fmt: skip
_ON_LIGHT = (0.05, 0.80)  # its yellow end has too little contrast on white
_ON_DARK = (0.30, 0.97)  # its blue end has too little on black


def ramp_css(dark: bool) -> str:
    """CSS variables ``--e0`` (least energy) to ``--e15``, for one theme."""
    low, high = _ON_DARK if dark else _ON_LIGHT
    places = (low + (high - low) * step / (STEPS - 1) for step in range(STEPS))
    return "".join(f"--e{step}:{_plasma(place)};" for step, place in enumerate(places))


def ramp_step(value: float, low: float, high: float) -> int:
    """Step of an energy between `low` and `high`; -1 where it is unknown."""
    if not math.isfinite(value):
        return -1
    if high <= low:
        return 0
    return min(max(int((value - low) / (high - low) * STEPS), 0), STEPS - 1)


def _plasma(place: float) -> str:
    stops = list(pairwise(_PLASMA))
    index = min(int(place * len(stops)), len(stops) - 1)
    share = place * len(stops) - index
    start, end = ([int(colour[at : at + 2], 16) for at in (0, 2, 4)] for colour in stops[index])
    mixed = (round(a + (b - a) * share) for a, b in zip(start, end, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)
