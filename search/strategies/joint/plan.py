"""The model that `joint` plans with: damages, the curve to accuracy drops, costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ....evaluators.evaluation import Evaluation
from ....spaces.space import Point
from ..base import Task
from .cost_forecast import CostForecast
from .damage import DamageModel
from .drop_curve import DropCurve
from .sweep import Sweep, Weighted

Floats = NDArray[np.float64]

ACCURACY = "accuracy"


class PlanModel:
    """Says what any point is expected to lose and cost, and learns from what was measured.

    Args:
        task: what is searched, and for what.
        costs: of points.
        tables: damages per axis, beyond the base.
        base: divergence of the base.
    """

    def __init__(
        self, task: Task, costs: CostForecast, tables: Sequence[Floats], base: float
    ) -> None:
        self._task = task
        self._costs = costs
        self._damage = DamageModel(tables, base)
        self._curve = DropCurve(base)
        names = [o.name for o in task.objectives if o.name != ACCURACY]
        # All objectives weigh alike.
        priced: list[Weighted] = [term for name in names for term in costs.terms(name)]
        self._sweep = Sweep(priced, len(task.space.axes))

    @property
    def spread(self) -> float:
        """Standard deviation of a drop around its forecast."""
        return self._curve.spread

    def learn(
        self,
        points: Sequence[Point],
        evaluations: Sequence[Evaluation],
        believed: Mapping[Point, float],
    ) -> None:
        """Fit everything anew.

        Args:
            points: that were evaluated.
            evaluations: of them, each with a measured divergence.
            believed: drops, of the points that have a measured one.
        """
        self._damage.learn(points, [e.measures["kl"] for e in evaluations])
        pairs = zip(points, evaluations, strict=True)
        judged = [(believed[p], e.measures) for p, e in pairs if "drop" in e.measures]
        most = max((m["n_search"] for _, m in judged), default=1.0)
        self._curve.learn(
            [m["kl"] for _, m in judged],
            [drop for drop, _ in judged],
            [m["n_search"] / most for _, m in judged],
        )

    def front(self, doubts: Floats | None = None) -> list[Point]:
        """A whole predicted front; with `doubts` one of a model that may be right as well."""
        return self._sweep.front(self._damage.corrected(doubts), self._task.space.full)

    def divergence(self, points: Sequence[Point]) -> Floats:
        """Expected `kl`, [N]."""
        return self._damage.divergence(points)

    def drops(self, points: Sequence[Point], corrections: Floats | float = 0.0) -> Floats:
        """Expected drops, [N].

        Args:
            points: N of them.
            corrections: measured minus expected divergence of what each was made of, [N]; 0 where
                it was made of nothing measured.
        """
        return self._curve(np.maximum(self.divergence(points) + corrections, 0.0))

    def losses(self, points: Sequence[Point], drops: Floats) -> Floats:
        """Objectives to be minimised, [N, M]: drops, and costs relative to the trained network."""
        columns = [
            drops if o.name == ACCURACY else self._costs.ratios(o.name, points)
            for o in self._task.objectives
        ]
        return np.stack(columns, axis=1)

    def chances(self, points: Sequence[Point], drops: Floats) -> Floats:
        """Probability, [N], that a point keeps all limits."""
        limits = self._task.limits
        chances = chance_below(limits.drop, drops, self.spread)
        if limits.bytes is None:
            return chances
        return np.where(self._costs.bytes(points) <= limits.bytes, chances, 0.0)


def chance_below(limit: float | None, expected: Floats, spread: float) -> Floats:
    """Probability, [N], that something normal around `expected` is at most the limit."""
    if limit is None:
        return np.ones(len(expected))
    scaled = (limit - expected) / (spread * math.sqrt(2))
    return np.array([0.5 * (1 + math.erf(value)) for value in scaled.tolist()])
