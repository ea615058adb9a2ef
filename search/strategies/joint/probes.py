"""What each choice does alone: which points are probed, and what follows for all levels.

Measured around a point that is compressed already, not around the trained network. There the
first change of an early layer makes spikes flip all the way down: predictions diverge (8 bits of
the first convolution of `spikformer-cifar10`: 0.04 nats), and no accuracy is lost. That happens
once, whatever else is changed, so that divergences do not add up. With few bits everywhere it
has happened. From there (4 bits) they do: over 160 combinations of all kinds of sites the measured
divergence was that of the starting point plus the sum of single changes, to within 5 % in the mean
from 0.03 to 0.6 nats, and the sum has a rank correlation of 0.98 with the accuracy drop (0.83 where
less than 8 points are lost, as much as the combination's own divergence).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ....spaces.axis import Axis
from ....spaces.site import SiteKind
from ....spaces.space import Point, Space

Floats = NDArray[np.float64]

_UNIFORM = (3, 4, 5, 6, 8)
"""Bit-widths of all weights alike among which the base is looked for."""
_DECAY = 0.5
"""Damage of the next level up, relative to a level's own, where none of a kind is known."""
_LEAST = 1e-3
"""Damage of a lowest level that measured as harmless, in nats."""
_NOISE = 0.008
"""Standard deviation of the difference of two probes of 128 images (`spikformer-cifar10`)."""
_DOUBT = 0.7
"""Relative standard deviation of what a kind's decay says of a level of one axis."""
_RUINED = 100.0


class Probes:
    """Chooses probes in two rounds and turns their damages into tables.

    The first round is the trained network, the starting point (`base`) and, from there, the lowest
    level of every axis. Where that does little, no other level needs to be known. The second round
    probes a level in between, on the half of the axes that the lowest level harms most.

    Args:
        space: that is searched.

    Attributes:
        base: point that probes start from; at first the trained network.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.base: Point = space.full
        self._known: list[dict[int, float]] = [{} for _ in space.axes]

    def uniform(self) -> list[Point]:
        """Points with all weights alike, ascending in bits; one of them becomes the base."""
        axes = list(zip(self._space.axes, self._space.full, strict=True))
        points = [tuple(_nearest(axis, full, bits) for axis, full in axes) for bits in _UNIFORM]
        return [point for point in dict.fromkeys(points) if point != self._space.full]

    def first(self) -> list[Point]:
        """The trained network, the base, and from there the lowest level of every axis."""
        lowest = (self._changed(axis, 0) for axis in range(len(self._space.axes)))
        return list(dict.fromkeys([self._space.full, self.base, *lowest]))

    def second(self) -> list[Point]:
        """A level in between, where the lowest one does harm."""
        damages = [known.get(0, 0.0) for known in self._known]
        harm = max(float(np.median(damages)), _LEAST)
        return [
            self._changed(axis, base // 2)
            for axis, (base, damage) in enumerate(zip(self.base, damages, strict=True))
            if damage >= harm and base > 1
        ]

    def changed_axis(self, point: Point) -> int | None:
        """Axis by which a probe differs from the base; None: it is no single change of it."""
        changed = [axis for axis, level in enumerate(point) if level != self.base[axis]]
        return changed[0] if len(changed) == 1 else None

    def note(self, point: Point, damage: float) -> None:
        """Take in what a probe does beyond the base, in nats."""
        axis = self.changed_axis(point)
        if axis is not None:
            self._known[axis][point[axis]] = damage

    def tables(self) -> list[Floats]:
        """Damage of every level of every axis; falls towards the base, from where on it is 0."""
        decays = self._decays()
        return [
            self._table(axis, decays.get(entry.kind, _DECAY))
            for axis, entry in enumerate(self._space.axes)
        ]

    def _changed(self, axis: int, level: int) -> Point:
        return (*self.base[:axis], level, *self.base[axis + 1 :])

    def _decays(self) -> Mapping[SiteKind, float]:
        """Decay per level of each kind, from the axes with two known levels.

        Of sums, not of single ratios, whose noise would not cancel out.
        """
        pairs: dict[SiteKind, list[tuple[float, float, int]]] = {}
        for entry, known in zip(self._space.axes, self._known, strict=True):
            for low, high in itertools.pairwise(sorted(known)):
                pairs.setdefault(entry.kind, []).append((known[low], known[high], high - low))
        return {kind: _decay(found) for kind, found in pairs.items()}

    def _table(self, axis: int, decay: float) -> Floats:
        """What the lowest level does and the decay of its kind say, corrected by other probes."""
        known, base = self._known[axis], self.base[axis]
        table = np.zeros(len(self._space.axes[axis].levels))
        if 0 not in known:
            # Its probe failed, or the base is its lowest level already.
            table[:base] = _RUINED
            return table
        lowest = max(known[0], _LEAST)
        values = {0: lowest} | {
            level: _believed(lowest * decay**level, measured)
            for level, measured in known.items()
            if 0 < level < base
        }
        numbers, below = sorted(values), np.arange(base)
        logs = np.log([values[number] for number in numbers])
        beyond = np.maximum(below - numbers[-1], 0) * np.log(decay)
        believed = np.exp(np.interp(below, numbers, logs) + beyond)
        table[:base] = np.maximum.accumulate(believed[::-1])[::-1]
        return table


def _decay(pairs: Sequence[tuple[float, float, int]]) -> float:
    low, high = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
    if low <= 0 or high <= 0:
        return _DECAY
    levels = sum(pair[2] for pair in pairs) / len(pairs)
    return float(np.clip((high / low) ** (1 / levels), 0.1, 0.9))


def _believed(expected: float, measured: float) -> float:
    """Posterior mean of a damage whose measurement is noisy; stays above a tenth of expected."""
    prior, error = (_DOUBT * expected) ** -2, _NOISE**-2
    return max((expected * prior + measured * error) / (prior + error), 0.1 * expected)


def _nearest(axis: Axis, full: int, bits: int) -> int:
    if axis.kind is not SiteKind.WEIGHT:
        return full
    return min(range(len(axis.levels)), key=lambda n: abs(axis.levels[n] - bits))
