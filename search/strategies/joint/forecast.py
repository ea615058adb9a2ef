"""What a point is expected to measure: costs from tables, accuracy from its damage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ....spaces.candidate import Candidate
from ....spaces.space import Point, Space
from ....svtmodels.cost_tables import CostTables, total
from .damage import DamageModel
from .drop_curve import DropCurve
from .sweep import Weighted

Floats = NDArray[np.float64]

_TABLED = ("bytes", "macs")
_OF_SPIKES = ("synops", "energy_mj")
"""Costs of what fires; followed through the MACs that spikes enter."""


class CostForecast:
    """Costs of points, relative to the trained network's.

    Bytes and MACs are exact. SynOps and energy go with the MACs that spikes enter, times what each
    choice alone was seen to do beyond that (fewer steps or other thresholds change how much
    fires). Other static costs are asked for point by point.

    Args:
        space: that is searched.
        tables: of bytes and MACs.
        price: static measures of one candidate.
    """

    def __init__(
        self,
        space: Space,
        tables: CostTables,
        price: Callable[[Candidate], Mapping[str, float]],
    ) -> None:
        self._space = space
        self._terms = {
            "bytes": tables.bytes,
            "macs": tables.macs,
            "spikes": tuple(term for term in tables.macs if term.spikes),
        }
        self._price = price
        full = np.array([space.full])
        self._full = {name: float(total(terms, full)[0]) for name, terms in self._terms.items()}
        self._parent = price(space.decode(space.full))
        self._firing = {name: self._empty() for name in _OF_SPIKES}

    def terms(self, name: str) -> list[Weighted]:
        """Terms of one cost, which sum to 1 at the trained network; none where it has no table."""
        table = "spikes" if name in _OF_SPIKES else name
        return [Weighted(term, 1 / self._full[table]) for term in self._terms.get(table, ())]

    def note(self, point: Point, name: str, ratio: float) -> None:
        """Take in a measured cost of a probe, relative to the trained network's."""
        full = self._space.full
        changed = [axis for axis, level in enumerate(point) if level != full[axis]]
        if len(changed) == 1 and name in _OF_SPIKES and ratio > 0:
            axis = changed[0]
            expected = float(self._of_spikes(name, np.array([point]))[0])
            self._firing[name][axis][point[axis]] += np.log(ratio / expected)

    def ratios(self, name: str, points: Sequence[Point]) -> Floats:
        """One cost of points, [N], relative to the trained network's."""
        rows = np.asarray(points, dtype=np.int64)
        if name in _OF_SPIKES:
            return self._of_spikes(name, rows)
        if name in _TABLED:
            return total(self._terms[name], rows) / self._full[name]
        priced = [self._price(self._space.decode(point))[name] for point in points]
        return np.array(priced) / self._parent[name]

    def bytes(self, points: Sequence[Point]) -> Floats:
        """Bytes of points, [N]."""
        return total(self._terms["bytes"], np.asarray(points, dtype=np.int64))

    def _of_spikes(self, name: str, rows: NDArray[np.int64]) -> Floats:
        base = total(self._terms["spikes"], rows) / self._full["spikes"]
        tables = enumerate(self._firing[name])
        return base * np.exp(sum(table[rows[:, axis]] for axis, table in tables))

    def _empty(self) -> list[Floats]:
        return [np.zeros(len(axis.levels)) for axis in self._space.axes]


class DropForecast:
    """Accuracy drops of points.

    Args:
        damage: of points.
        curve: from divergence to drop.
    """

    def __init__(self, damage: DamageModel, curve: DropCurve) -> None:
        self._damage = damage
        self._curve = curve

    @property
    def spread(self) -> float:
        """Standard deviation of a drop around its forecast."""
        return self._curve.spread

    def drops(self, points: Sequence[Point], corrections: Floats) -> Floats:
        """Expected drops, [N].

        Args:
            points: N of them.
            corrections: measured over predicted divergence of what each was made of, [N]; 1
                where it was made of nothing measured.
        """
        return self._curve(self._damage.divergence(points) * corrections)
