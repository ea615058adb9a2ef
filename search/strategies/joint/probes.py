"""What each choice does alone: which points are probed, and what follows for all levels."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ....spaces.site import SiteKind
from ....spaces.space import Point, Space

Floats = NDArray[np.float64]

_DECAY = 0.7
"""Damage of the next level up, relative to a level's own, where none of a kind is known: on
`spikformer-cifar10` 4 bits do 0.45 times what 2 bits do, a ratio of 1/2 0.45 times that of 1/4."""
_LEAST = 1e-6
_RUINED = 100.0


class Probes:
    """Chooses probes in two rounds and turns their damages into tables.

    The first round is the trained network itself and the lowest level of every axis. Where that
    does little, no other level needs to be known. The second round probes a level in between, on
    the half of the axes that the lowest level harms most.

    Args:
        space: that is searched.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._full = space.full
        self._known: list[dict[int, float]] = [{} for _ in space.axes]

    def first(self) -> list[Point]:
        """The untouched point and the lowest level of every axis."""
        lowest = [self._alone(axis, 0) for axis in range(len(self._space.axes))]
        return [self._full, *(point for point in lowest if point != self._full)]

    def second(self) -> list[Point]:
        """A level in between, where the lowest one is not harmless."""
        damages = [known.get(0, 0.0) for known in self._known]
        middle = float(np.median(damages))
        points = []
        for axis, damage in enumerate(damages):
            levels = self._levels(axis)
            if damage >= middle and len(levels) > 2:
                points.append(self._alone(axis, levels[len(levels) // 2]))
        return points

    def note(self, point: Point, damage: float) -> None:
        """Take in the measured damage of a probe."""
        changed = [
            a
            for a, (level, full) in enumerate(zip(point, self._full, strict=True))
            if level != full
        ]
        if len(changed) == 1:
            self._known[changed[0]][point[changed[0]]] = max(damage, _LEAST)

    def tables(self) -> list[Floats]:
        """Damage of every level of every axis; falls towards the full size, where it is 0."""
        decays = self._decays()
        return [
            self._table(axis, decays.get(entry.kind, _DECAY))
            for axis, entry in enumerate(self._space.axes)
        ]

    def _alone(self, axis: int, level: int) -> Point:
        return (*self._full[:axis], level, *self._full[axis + 1 :])

    def _levels(self, axis: int) -> list[int]:
        """Numbers of its levels but the full one."""
        return [n for n in range(len(self._space.axes[axis].levels)) if n != self._full[axis]]

    def _decays(self) -> Mapping[SiteKind, float]:
        """Median decay per level of each kind, from the axes with two known levels."""
        ratios: dict[SiteKind, list[float]] = {}
        for entry, known in zip(self._space.axes, self._known, strict=True):
            for low, high in itertools.pairwise(sorted(known)):
                ratio = (known[high] / known[low]) ** (1 / (high - low))
                ratios.setdefault(entry.kind, []).append(ratio)
        return {kind: min(float(np.median(found)), 1.0) for kind, found in ratios.items()}

    def _table(self, axis: int, decay: float) -> Floats:
        """Logarithms are interpolated between known levels and fall on by `decay` beyond."""
        known = self._known[axis]
        levels = self._levels(axis)
        table = np.zeros(len(self._space.axes[axis].levels))
        if not known:
            # The probe failed: nothing is known but that the trained network is whole.
            table[levels] = _RUINED
            return table
        numbers = sorted(known)
        logs = np.log([known[number] for number in numbers])
        inside = np.interp(levels, numbers, logs)
        beyond = np.maximum(np.array(levels) - numbers[-1], 0) * np.log(decay)
        values = np.exp(inside + beyond)
        table[levels] = np.maximum.accumulate(values[::-1])[::-1]
        return table
