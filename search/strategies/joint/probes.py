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
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....spaces.axis import Axis
from ....spaces.site import SiteKind
from ....spaces.space import Point, Space

Floats = NDArray[np.float64]

_UNIFORM = (3, 4, 5, 6, 8)
"""Bit-widths of all weights alike among which the base is looked for."""
_DECAY, _BIT_DECAY = 0.75, 0.25
"""Damage of the next level up, relative to a level's own, where none of a kind is known; of weights
as the power of rounding errors falls with every bit."""
_MOST_LEFT = 0.5
"""The same from the base on, where nothing is measured, at most."""
_NOISE = 0.008
"""Standard deviation of the difference of two probes' divergences (128 images of
`spikformer-cifar10`)."""
_DOUBT = 0.7
_LEAST = 2e-3
_BLIND = 2e-2
"""Standard deviation of what a kind's drift says of the damage of one axis: a share of it, and
nats: for weights, and for all other kinds, since what was taken out has no drift (an eighth of the
attention's channels of `sdt-v1-cifar10`: 0.0 of drift, 0.02 nats)."""
_MISSED_OF_WEIGHTS, _MISSED = 0.006, 0.03
"""Nats that divergence on the gate's images may have missed of what an axis costs in accuracy:
channels of late layers cost more than it shows."""
_UNSURE = 0.02
"""Nats that the damages left at the base are doubted by in all, and as much what the base was
measured to lose: a point."""
_POOLED = 0.05
"""Drift of all kinds together that joins each kind's own, where its nats per drift are found."""
_RUINED = 100.0
_ONE_BIT = 0.25
_DEPTH = 2.5
"""What is expected of one bit for all weights before anything is probed: nats in all, and the log
of how much more of it the first layer does than the last. The probes of `make bench-papers` came to
0.24 to 0.32 nats on three networks (0.11 on `sdt-v3-cifar10`), falling by 5 (2.5), whatever the
layers' sizes are. Late layers cost more accuracy than divergence: planned with 5 they all had one
bit, and the first candidate of `sdt-v1-cifar10` lost 3.6 points."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a probe did beyond the base: nats, and mean drift."""

    divergence: float
    drift: float


class Probes:
    """Chooses probes and turns their damages into tables.

    The trained network and the starting point (`base`) are what others are compared with. The first
    round is, from there, the lowest level of every axis. Where that does little, no other level
    needs to be known. The second round probes a level in between, on the half of the axes that the
    lowest level harms most. Until an axis of weights is probed, its depth tells what to expect of
    it; others are left alone.

    Args:
        space: that is searched.

    Attributes:
        base: point that probes start from; at first the trained network.
        left: nats that the base loses, as far as evaluations tell; None: unknown.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.base: Point = space.full
        self.left: float | None = None
        self._known: list[dict[int, _Seen]] = [{} for _ in space.axes]
        self._failed: set[int] = set()

    def uniform(self) -> list[Point]:
        """Points with all weights alike, ascending in bits; one of them becomes the base."""
        axes = list(zip(self._space.axes, self._space.full, strict=True))
        points = [tuple(_nearest(axis, full, bits) for axis, full in axes) for bits in _UNIFORM]
        return [point for point in dict.fromkeys(points) if point != self._space.full]

    def start(self) -> list[Point]:
        """What others are compared with."""
        return list(dict.fromkeys([self._space.full, self.base]))

    def first(self) -> list[Point]:
        """The lowest level of every axis whose base is another one."""
        return [self._changed(axis, 0) for axis, level in enumerate(self.base) if level > 0]

    def second(self) -> list[Point]:
        """A level in between, where the lowest one does harm."""
        damages = [known.get(0, 0.0) for known in self._believed()]
        harm = float(np.median(damages))
        return [
            self._changed(axis, base // 2)
            for axis, (base, damage) in enumerate(zip(self.base, damages, strict=True))
            if damage >= harm and base > 1
        ]

    def changed_axis(self, point: Point) -> int | None:
        """Axis by which a probe differs from the base; None: it is no single change of it."""
        changed = [axis for axis, level in enumerate(point) if level != self.base[axis]]
        return changed[0] if len(changed) == 1 else None

    def note(self, point: Point, divergence: float, drift: float) -> None:
        """Take in what a probe does beyond the base, in nats, and to the mean drift."""
        axis = self.changed_axis(point)
        if axis is not None:
            self._known[axis][point[axis]] = _Seen(divergence, drift)

    def fail(self, point: Point) -> None:
        """Take in that a probe failed: levels below the base are left alone on that axis."""
        axis = self.changed_axis(point)
        if axis is not None:
            self._failed.add(axis)

    def tables(self) -> list[Floats]:
        """Damage of every level of every axis in nats, 0 at the trained network's level."""
        believed = self._believed()
        decays = self._decays(believed)
        self._expect_others(believed)
        each = [
            (axis, believed[axis], decays[entry.kind])
            for axis, entry in enumerate(self._space.axes)
        ]
        above = [self._above(*one) for one in each]
        share = self._share_left(above)
        return [self._below(*one) + share * rest for one, rest in zip(each, above, strict=True)]

    def missed(self) -> list[float]:
        """Nats of every axis that its probes may have missed, as standard deviations."""
        return [_missed(entry.kind) for entry in self._space.axes]

    def _changed(self, axis: int, level: int) -> Point:
        return (*self.base[:axis], level, *self.base[axis + 1 :])

    def _believed(self) -> list[dict[int, float]]:
        """Damages of the levels that were probed: divergence, and what the drift lets expect."""
        slopes = self._slopes()
        return [
            {
                level: _posterior(slopes[entry.kind], seen, _doubt(entry.kind))
                for level, seen in known.items()
            }
            for entry, known in zip(self._space.axes, self._known, strict=True)
        ]

    def _slopes(self) -> Mapping[SiteKind, float]:
        """Nats per drift, by kind: of sums, as the noise of single ratios would not cancel out."""
        found = [
            (entry.kind, seen)
            for entry, known in zip(self._space.axes, self._known, strict=True)
            for seen in known.values()
        ]
        common = _ratio([seen for _, seen in found], _POOLED, 1.0)
        kinds = {entry.kind for entry in self._space.axes}
        return {
            kind: _ratio([seen for other, seen in found if other is kind], _POOLED, common)
            for kind in kinds
        }

    def _decays(self, believed: Sequence[Mapping[int, float]]) -> Mapping[SiteKind, float]:
        """Decay per level of each kind, from the axes with two known levels."""
        pairs: dict[SiteKind, list[tuple[float, float, int]]] = {}
        for entry, known in zip(self._space.axes, believed, strict=True):
            for low, high in itertools.pairwise(sorted(known)):
                pairs.setdefault(entry.kind, []).append((known[low], known[high], high - low))
        unknown = dict.fromkeys(SiteKind, _DECAY) | {SiteKind.WEIGHT: _BIT_DECAY}
        return unknown | {kind: _decay(found) for kind, found in pairs.items()}

    def _expect_others(self, believed: Sequence[dict[int, float]]) -> None:
        """Add what is expected of the lowest level of weights that are not probed yet."""
        expected = self._expected()
        probed = [axis for axis in expected if 0 in believed[axis]]
        done = sum(believed[axis][0] for axis in probed)
        scale = (done + _ONE_BIT) / (sum(expected[axis] for axis in probed) + _ONE_BIT)
        for axis in expected.keys() - self._failed:
            believed[axis].setdefault(0, scale * expected[axis])

    def _expected(self) -> Mapping[int, float]:
        """Damage of the lowest level of every axis of weights, in nats, by depth alone."""
        weights = [a for a, entry in enumerate(self._space.axes) if entry.kind is SiteKind.WEIGHT]
        owners = [axis for axis in weights for _ in self._space.axes[axis].sites]
        shares = np.exp(-_DEPTH * np.linspace(0, 1, len(owners)))
        found = dict.fromkeys(weights, 0.0)
        for axis, share in zip(owners, shares / shares.sum(), strict=True):
            bits = self._space.axes[axis].levels[0]
            found[axis] += _ONE_BIT * float(share) * _BIT_DECAY ** (bits - 1)
        return found

    def _below(self, axis: int, known: Mapping[int, float], decay: float) -> Floats:
        """Damage beyond the base.

        In logs between the levels that are known. From the last of them it falls with every level
        so that nothing is left at the base, of which ``D decay^base`` is no damage beyond it.
        """
        base = self.base[axis]
        table = np.zeros(len(self._space.axes[axis].levels))
        if 0 not in known:
            table[:base] = _RUINED
            return table
        numbers, below = sorted(known), np.arange(base)
        logs = np.log([known[number] for number in numbers])
        last = np.maximum(below, numbers[-1])
        left = (decay**last - decay**base) / (decay ** numbers[-1] - decay**base)
        damages = np.exp(np.interp(below, numbers, logs)) * left
        table[:base] = np.maximum.accumulate(damages[::-1])[::-1]
        return table

    def _above(self, axis: int, known: Mapping[int, float], decay: float) -> Floats:
        """What is left at the base's level and above it, if it goes on falling as below.

        The lowest level does ``lowest = D (1 - decay^base)`` beyond the base where it does D beyond
        the trained network, of which ``D decay^base`` is left at the base. Where the base is the
        lowest level, what is known of that is D.
        """
        base, full = self.base[axis], self._space.full[axis]
        levels = np.arange(len(self._space.axes[axis].levels))
        if base == full or 0 not in known:
            return np.zeros(len(levels))
        decay = min(decay, _MOST_LEFT)
        left = known[0] * (decay**base / (1 - decay**base) if base > 0 else 1.0)
        return np.where(levels < full, left * decay ** np.maximum(levels - base, 0), 0.0)

    def _share_left(self, above: Sequence[Floats]) -> float:
        """What evaluations say that the base loses, relative to what follows from below it."""
        if self.left is None:
            return 1.0
        follows = sum(float(rest[level]) for rest, level in zip(above, self.base, strict=True))
        return (self.left + _UNSURE) / (follows + _UNSURE)


def _ratio(seen: Sequence[_Seen], weight: float, common: float) -> float:
    """Nats per drift of some probes and so much drift with the common ratio."""
    nats = sum(max(each.divergence, 0.0) for each in seen) + weight * common
    return nats / (sum(max(each.drift, 0.0) for each in seen) + weight)


def _missed(kind: SiteKind) -> float:
    return _MISSED_OF_WEIGHTS if kind is SiteKind.WEIGHT else _MISSED


def _doubt(kind: SiteKind) -> float:
    return _LEAST if kind is SiteKind.WEIGHT else _BLIND


def _posterior(slope: float, seen: _Seen, least: float) -> float:
    """Mean of a damage above 0, given what its drift lets expect and a noisy divergence.

    Single changes do less than the noise of a divergence to many axes; most of a plan's changes are
    of these, and the luckiest of them, while drift is known well.
    """
    expected = slope * max(seen.drift, 0.0)
    prior, error = (_DOUBT * expected + least) ** -2, _NOISE**-2
    mean = (expected * prior + seen.divergence * error) / (prior + error)
    deviation = (prior + error) ** -0.5
    # Truncated normal: no change makes a network better.
    scaled = max(mean / deviation, -8.0)
    below = 0.5 * math.erfc(-scaled / math.sqrt(2))
    density = math.exp(-(scaled**2) / 2) / math.sqrt(2 * math.pi)
    return deviation * (scaled + density / below)


def _decay(pairs: Sequence[tuple[float, float, int]]) -> float:
    low, high = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
    levels = sum(pair[2] for pair in pairs) / len(pairs)
    return float(np.clip((high / low) ** (1 / levels), 0.1, 0.9))


def _nearest(axis: Axis, full: int, bits: int) -> int:
    if axis.kind is not SiteKind.WEIGHT:
        return full
    return min(range(len(axis.levels)), key=lambda n: abs(axis.levels[n] - bits))
