"""The strategy: probe, plan, evaluate along the plan, correct it, refine.

1. **Probes**: what each choice does alone to predictions, SynOps and energy, on the gate's images
   (`probes`). No search image is spent.
2. **Plan**: from these and exact cost tables a whole predicted front (`damage`, `sweep`).
3. **Every suggestion** is the best of a pool: the plan's points, plans under doubt (weights of the
   damage drawn anew), and children of what was measured (`variation`), by expected gain of
   hypervolume times the chance of keeping the accuracy limit (`worth`). What is committed corrects
   the damages, the curve from damage to drop, and the front; suggestions that are still open count
   as if they had come out as expected, so that a window does not fill with the same idea.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ....evaluators.evaluation import PROBE, Evaluation
from ....spaces.space import Point
from ..base import Strategy, Suggestion, Task
from .damage import DamageModel
from .drop_curve import DropCurve
from .forecast import CostForecast, DropForecast
from .probes import Probes
from .sweep import Sweep, Weighted
from .variation import child
from .worth import Worth, chance_below

Floats = NDArray[np.float64]

_ACCURACY = "accuracy"
_CHILDREN = 200
_DOUBTS = 2
_DOUBT = 0.4
"""Standard deviation of the logarithm of an axis's weight, for plans under doubt."""
_PARENTS = 12
_TRIES = 100


@dataclass(frozen=True)
class _Known:
    """What became of a point."""

    point: Point
    evaluation: Evaluation

    @property
    def divergence(self) -> float | None:
        return self.evaluation.measures.get("kl")


class Joint(Strategy):
    """One search over channels, tokens, bits, states and steps, planned with a model.

    Args:
        task: what is searched, and for what.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._space = task.space
        self._probes = Probes(self._space)
        self._queue = self._probes.first()
        self._second = False
        self._open: dict[int, Suggestion] = {}
        self._points: dict[int, Point] = {}
        self._seen: set[Point] = set()
        self._known: list[_Known] = []
        self._costs = CostForecast(self._space, task.tables(), task.price)
        self._parent_costs: dict[str, float] = {}
        self._damage: DamageModel | None = None
        self._curve = DropCurve()
        self._plans: list[Point] = []

    @override
    def suggest(self, index: int) -> Suggestion | None:
        if index not in self._open:
            suggestion = self._next(index)
            if suggestion is None:
                return None
            self._open[index] = suggestion
        return self._open[index]

    @override
    def update(self, index: int, evaluation: Evaluation) -> None:
        suggestion = self._open.pop(index, None)
        point = self._points.pop(index, None) or self._space.encode(evaluation.candidate)
        if suggestion is not None and suggestion.probe:
            self._note_probe(point, evaluation)
        else:
            self._seen.add(point)
            self._known.append(_Known(point, evaluation))
        if self._damage is not None:
            self._learn()

    def _next(self, index: int) -> Suggestion | None:
        if not self._queue and not self._probing():
            if not self._second:
                self._second = True
                self._queue = self._probes.second()
            if not self._queue and self._damage is None:
                self._damage = DamageModel(self._probes.tables())
                self._learn()
        if self._queue:
            point = self._queue.pop(0)
            self._points[index] = point
            return Suggestion(self._space.decode(point), PROBE)
        if self._damage is None:
            return None
        point = self._best(random.Random(f"{self._task.seed}:{index}"))
        self._points[index] = point
        self._seen.add(point)
        return Suggestion(self._space.decode(point))

    def _probing(self) -> bool:
        return any(suggestion.probe for suggestion in self._open.values())

    def _note_probe(self, point: Point, evaluation: Evaluation) -> None:
        measures = evaluation.measures
        if "kl" not in measures:
            return
        self._probes.note(point, measures["kl"])
        if point == self._space.full:
            self._parent_costs = dict(measures)
        for name in ("synops", "energy_mj"):
            parent = self._parent_costs.get(name)
            if parent and name in measures:
                self._costs.note(point, name, measures[name] / parent)

    def _learn(self) -> None:
        """Fit everything anew to all that is committed."""
        damage = self._damage
        assert damage is not None
        seen = [known for known in self._known if known.divergence is not None]
        damage.learn([k.point for k in seen], [k.evaluation.measures["kl"] for k in seen])
        judged = [k.evaluation.measures for k in seen if "drop" in k.evaluation.measures]
        most = max((m["n_search"] for m in judged), default=1.0)
        self._curve.learn(
            [m["kl"] for m in judged],
            [m["drop"] for m in judged],
            [m["n_search"] / most for m in judged],
        )
        self._plans = self._planned(damage.weights)

    def _planned(self, weights: Floats) -> list[Point]:
        assert self._damage is not None
        damages = [w * table for w, table in zip(weights, self._damage.tables, strict=True)]
        sweep = Sweep(self._priced(), len(self._space.axes))
        return sweep.front(damages, self._space.full)

    def _priced(self) -> list[Weighted]:
        """Costs of all objectives, each with the same weight."""
        names = [o.name for o in self._task.objectives if o.name != _ACCURACY]
        return [weighted for name in names for weighted in self._costs.terms(name)]

    def _best(self, rng: random.Random) -> Point:
        points, corrections = self._pool(rng)
        if not points:
            return self._space.encode(self._space.sample(rng))
        forecast = self._forecast()
        drops = forecast.drops(points, corrections)
        losses = self._losses(points, drops)
        limits = self._task.limits
        chances = chance_below(limits.drop, drops, forecast.spread)
        if limits.bytes is not None:
            chances = np.where(self._costs.bytes(points) <= limits.bytes, chances, 0.0)
        number = Worth(self._front(), self._reference()).best(losses, chances)
        if number is None:
            number = int(np.argmax(chances - 1e-3 * losses.sum(axis=1)))
        return points[number]

    def _pool(self, rng: random.Random) -> tuple[list[Point], Floats]:
        """New points, and measured over predicted divergence of what each comes from."""
        assert self._damage is not None
        found = dict.fromkeys(self._plans, 1.0)
        for _ in range(_DOUBTS):
            noise = [np.exp(rng.gauss(0, _DOUBT)) for _ in self._space.axes]
            found |= dict.fromkeys(self._planned(self._damage.weights * np.array(noise)), 1.0)
        parents = self._parents()
        if parents:
            for _ in range(_CHILDREN):
                point, parent = child(list(parents), self._space, rng)
                found.setdefault(point, parents[parent])
        new = {point: value for point, value in found.items() if point not in self._seen}
        return list(new), np.array(list(new.values()))

    def _parents(self) -> dict[Point, float]:
        """The best of what was measured, with measured over predicted divergence."""
        assert self._damage is not None
        measured = [k for k in self._known if k.divergence is not None]
        good = [k for k in measured if k.evaluation.feasible] or measured
        good.sort(key=lambda k: (k.evaluation.violation, k.evaluation.measures["bytes"], k.point))
        kept = good[:_PARENTS]
        if not kept:
            return {}
        predicted = self._damage.divergence([k.point for k in kept])
        return {
            k.point: float((k.divergence or 0.0) / max(p, 1e-9))
            for k, p in zip(kept, predicted.tolist(), strict=True)
        }

    def _forecast(self) -> DropForecast:
        assert self._damage is not None
        return DropForecast(self._damage, self._curve)

    def _losses(self, points: list[Point], drops: Floats) -> Floats:
        columns = [
            drops if o.name == _ACCURACY else self._costs.ratios(o.name, points)
            for o in self._task.objectives
        ]
        return np.stack(columns, axis=1)

    def _front(self) -> Floats:
        """Losses of what is feasible, and of open suggestions as they are expected."""
        done = [k for k in self._known if k.evaluation.feasible]
        rows = [self._measured(k) for k in done]
        waiting = [
            self._points[index]
            for index, suggestion in self._open.items()
            if not suggestion.probe and index in self._points
        ]
        if waiting:
            drops = self._forecast().drops(waiting, np.ones(len(waiting)))
            rows += list(self._losses(waiting, drops))
        return np.array(rows).reshape(len(rows), len(self._task.objectives))

    def _measured(self, known: _Known) -> Floats:
        drop = np.array([known.evaluation.measures["drop"]])
        return self._losses([known.point], drop)[0]

    def _reference(self) -> Floats:
        limit = self._task.limits.drop
        worst = 1.0 if limit is None else limit + 1e-3
        return np.array([worst if o.name == _ACCURACY else 1.0 for o in self._task.objectives])
