"""A whole predicted front at once: damage plus a price on costs, for rising prices.

For every price the point of least ``damage + price * cost`` is looked for by going round the axes,
each of which takes its best level while the others stand still (Lagrangian relaxation of the
knapsack; costs are products of widths and bits, so the levels of coupled axes are not independent).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....spaces.space import Point
from ....svtmodels.cost_tables import CostTerm
from .sweep_kernel import CompiledSweep, sweep_kernel

Floats = NDArray[np.float64]

_ROUNDS = 6
_PRICES = 40
_CHEAPEST, _DEAREST = 1e-3, 1e2
"""Prices of the whole network's cost, in units of damage: from where nothing is worth touching to
where everything goes."""


@dataclass(frozen=True)
class Weighted:
    """A cost term and what its values are multiplied by."""

    term: CostTerm
    factor: float


class Sweep:
    """Points of least damage per cost.

    Args:
        terms: of the costs; they sum to 1 at the trained network, or thereabouts.
        levels: number of levels of each axis of the space.
    """

    def __init__(self, terms: Sequence[Weighted], levels: Sequence[int]) -> None:
        self._of_axis: list[list[Weighted]] = [[] for _ in levels]
        for weighted in terms:
            for axis in weighted.term.axes:
                self._of_axis[axis].append(weighted)
        kernel = sweep_kernel()
        self._compiled = None
        if kernel is not None:
            of_axis = [[(each.term, each.factor) for each in own] for own in self._of_axis]
            self._compiled = CompiledSweep(kernel, levels, of_axis)

    def front(self, damages: Sequence[Floats], start: Point) -> list[Point]:
        """Points for rising prices, each from where the one before ended; repetitions left out.

        Args:
            damages: per axis, of each level.
            start: the trained network.
        """
        prices = np.geomspace(_CHEAPEST, _DEAREST, _PRICES)
        if self._compiled is not None:
            found = self._compiled.points(damages, prices, _ROUNDS, start)
        else:
            found = self._points(damages, prices, start)
        return list(dict.fromkeys([start, *found]))

    def _points(self, damages: Sequence[Floats], prices: Floats, start: Point) -> list[Point]:
        point, found = list(start), []
        for price in prices.tolist():
            self._descend(point, damages, price)
            found.append(tuple(point))
        return found

    def _descend(self, point: list[int], damages: Sequence[Floats], price: float) -> None:
        for _ in range(_ROUNDS):
            moved = False
            for axis, damage in enumerate(damages):
                best = int(np.argmin(damage + price * self._costs(axis, point)))
                moved = moved or best != point[axis]
                point[axis] = best
            if not moved:
                return

    def _costs(self, axis: int, point: Sequence[int]) -> Floats | float:
        """Cost of every level of an axis while the others stand still, but for a constant."""
        total: Floats | float = 0.0
        for weighted in self._of_axis[axis]:
            term = weighted.term
            place = tuple(slice(None) if a == axis else point[a] for a in term.axes)
            total = total + weighted.factor * term.values[place]
        return total
