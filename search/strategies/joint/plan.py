"""The model that `joint` plans with: damages, what is known of drops, costs."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ....evaluators.evaluation import Evaluation, Stage
from ....spaces.space import Point
from ..base import Task
from .cost_forecast import CostForecast
from .damage import POINTS_PER_NAT, DamageModel
from .sweep import Sweep, Weighted

Floats = NDArray[np.float64]

ACCURACY = "accuracy"


_SPREAD = 0.012
_SPREAD_WEIGHT = 2.0
_LEAST_SPREAD = 0.004
"""Standard deviation of a believed drop around a well-known forecast: at first, and the number of
candidates that this is worth; at least."""
_DOUBTED = 0.3
"""Share of a drop that may be doubted, at most: damages are never below 0, and large ones that are
little known are no chance of a small one."""
_NEAR = 0.04
"""Drops below this one show the spread."""
_WHOLE_ERROR = 0.004
_IMAGE_ERROR = 0.35
"""Standard deviation of what is believed of a candidate that was asked all search images; of the
estimate from some of them, times the root of their number."""
_BEYOND = 0.02
"""An estimate that ended an evaluation says that a drop is so much beyond the limit, not how much
more: the fewer images it took, the farther it is off. Counted as no more than that, it taught that
damages cost next to nothing (`qkformer-cifar10`: candidates that lost 5 to 30 points were expected
to lose 3, and nearly all were of that kind)."""
_UNSEEN_ERROR, _UNSEEN_SHARE = 0.015, 0.3
"""Standard deviation of a drop that is told by the divergence beyond the base alone: an absolute
part and a share."""
_REAL = 0.005
"""Of what all candidates lose alike so much may be real: 8 bits of `qkformer-cifar10` lose 0.3
points on the test images."""


class PlanModel:
    """Says what any point is expected to lose and cost, and learns from what was measured.

    Args:
        task: what is searched, and for what.
        costs: of points.
        damage: of every choice.
        base: divergence of the base of the probes.
    """

    def __init__(self, task: Task, costs: CostForecast, damage: DamageModel, base: float) -> None:
        self._task = task
        self._costs = costs
        self._damage = damage
        self._base = base
        self._spread = _SPREAD
        self._full = task.space.full
        names = [o.name for o in task.objectives if o.name != ACCURACY]
        # All objectives weigh alike.
        priced: list[Weighted] = [term for name in names for term in costs.terms(name)]
        self._sweep = Sweep(priced, [len(axis.levels) for axis in task.space.axes])

    @property
    def luck(self) -> float:
        """Accuracy that the trained network had on the search images by luck alone, at least.

        All candidates are compared with it there, and lose that much, however little is changed;
        on other images they do not (`qkformer-cifar10`: 1.8 points, 0.3 on the test images).
        """
        return max(self._damage.offset - _REAL, 0.0)

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
        if not points:
            return
        pairs = list(zip(points, evaluations, strict=True))
        observed = [self._observed(e, believed.get(p)) for p, e in pairs]
        least, most, errors = np.array(observed).T
        rows = np.asarray(points, dtype=np.int64)
        self._damage.learn(rows, least, most, errors)
        whole = np.array([e.stage is Stage.FULL for e in evaluations], dtype=bool)
        near = whole & (most < _NEAR)
        lost = ((most - self._damage.drops(rows)) ** 2)[near].sum() + _SPREAD_WEIGHT * _SPREAD**2
        self._spread = max(float(np.sqrt(lost / (near.sum() + _SPREAD_WEIGHT))), _LEAST_SPREAD)

    def _observed(
        self, evaluation: Evaluation, believed: float | None
    ) -> tuple[float, float, float]:
        """What an evaluation says of the drop: from, to, and the standard deviation of that."""
        measures = evaluation.measures
        if believed is None:
            drop = POINTS_PER_NAT * (measures["kl"] - self._base)
            return drop, drop, _UNSEEN_ERROR + _UNSEEN_SHARE * abs(drop)
        if evaluation.stage is Stage.FULL:
            return believed, believed, _WHOLE_ERROR
        limit = self._task.limits.drop
        sure = 1.0 if limit is None else limit + _BEYOND
        return min(believed, sure), believed, _IMAGE_ERROR / math.sqrt(measures["n_search"])

    def front(self, rng: random.Random | None = None) -> list[Point]:
        """A whole predicted front; with `rng` that of a model that may be right as well."""
        unknowns = range(self._damage.unknowns)
        doubts = None if rng is None else np.array([rng.gauss(0, 1) for _ in unknowns])
        return self._sweep.front(self._damage.damages(doubts), self._full)

    def drops(self, points: Sequence[Point]) -> Floats:
        """Expected drops, [N]."""
        return self._damage.drops(points)

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
        doubts = np.minimum(self._damage.deviations(points), _DOUBTED * np.maximum(drops, 0))
        spreads = np.hypot(self._spread, doubts)
        chances = chance_below(limits.drop, drops, spreads)
        if limits.bytes is None:
            return chances
        return np.where(self._costs.bytes(points) <= limits.bytes, chances, 0.0)


def chance_below(limit: float | None, expected: Floats, spreads: Floats) -> Floats:
    """Probability, [N], that something normal around `expected` is at most the limit."""
    if limit is None:
        return np.ones(len(expected))
    scaled = (limit - expected) / (spreads * math.sqrt(2))
    return np.array([0.5 * (1 + math.erf(value)) for value in scaled.tolist()])
