"""What a point is expected to cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ....spaces.candidate import Candidate
from ....spaces.space import Point, Space
from ....svtmodels.cost_tables import CostTables, total
from .sweep import Weighted

Floats = NDArray[np.float64]

_TABLED = ("bytes", "macs")
OF_SPIKES = ("synops", "energy_mj")
"""Costs of what fires; followed through the MACs that spikes enter."""


class CostForecast:
    """Costs of points, relative to the trained network's.

    Bytes and MACs are exact. SynOps and energy go with the MACs that spikes enter, times what the
    base of the probes and each choice alone were seen to do beyond that (fewer steps or other
    thresholds change how much fires). Other static costs are asked for point by point.

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
        self._at_base: dict[str, float] = dict.fromkeys(OF_SPIKES, 0.0)
        self._firing: dict[str, list[Floats]] = {name: self._empty() for name in OF_SPIKES}

    def terms(self, name: str) -> list[Weighted]:
        """Terms of one cost, which sum to 1 at the trained network; none where it has no table."""
        table = "spikes" if name in OF_SPIKES else name
        return [Weighted(term, 1 / self._full[table]) for term in self._terms.get(table, ())]

    def note(self, point: Point, axis: int | None, name: str, ratio: float) -> None:
        """Take in a measured cost, relative to the trained network's.

        Args:
            point: a probe; the base comes before all others.
            axis: by which it differs from the base; None: it is the base.
            name: of the cost.
            ratio: above 0.
        """
        beyond = np.log(ratio / float(self._of_spikes(name, np.array([point]))[0]))
        if axis is None:
            self._at_base[name] += beyond
        else:
            self._firing[name][axis][point[axis]] += beyond

    def ratios(self, name: str, points: Sequence[Point]) -> Floats:
        """One cost of points, [N], relative to the trained network's."""
        rows = np.asarray(points, dtype=np.int64)
        if name in OF_SPIKES:
            return self._of_spikes(name, rows)
        if name in _TABLED:
            return total(self._terms[name], rows) / self._full[name]
        if name not in self._parent:
            # Measured latency: nothing predicts it; more work takes longer.
            return self.ratios("macs", points)
        priced = [self._price(self._space.decode(point))[name] for point in points]
        return np.array(priced) / self._parent[name]

    def bytes(self, points: Sequence[Point]) -> Floats:
        """Bytes of points, [N]."""
        return total(self._terms["bytes"], np.asarray(points, dtype=np.int64))

    def _of_spikes(self, name: str, rows: NDArray[np.int64]) -> Floats:
        base = total(self._terms["spikes"], rows) / self._full["spikes"]
        tables = enumerate(self._firing[name])
        return base * np.exp(self._at_base[name] + sum(t[rows[:, axis]] for axis, t in tables))

    def _empty(self) -> list[Floats]:
        return [np.zeros(len(axis.levels)) for axis in self._space.axes]
