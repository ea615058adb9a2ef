"""The strategy: find a base, plan, probe, evaluate along the plan, correct it, refine.

1. **Base**: candidates with the same bits everywhere are evaluated. The smallest that loses little
   more than that of most bits is where the probes start.
2. **Plan**: from damages and exact cost tables a whole predicted front (`plan`, `damage`, `sweep`).
   At first all that is known of damages is the depth of a layer, which suffices for bits: early
   layers need them.
3. **Probes**: what each choice does alone to predictions, drift, SynOps and energy, on the gate's
   images (`probes`). No search image is spent. What saves most is asked first, and some probes
   after every candidate that is planned, so that a search that ends early has a front as well.
4. **Every candidate** is the best of a pool: the plan's points, plans under doubt (damages drawn
   anew), and children of what was measured (`variation`), by expected gain of hypervolume times
   the chance of keeping the limits (`worth`). What is committed corrects the damages and the
   front; suggestions that are still open count as if they had come out as expected, so that a
   window does not fill with the same idea. What was measured counts with the drop that is believed
   (`belief`): the front does not move after lucky ones. With a limit every fourth is asked all
   search images, so that what is believed does not rest on those alone that were lucky with the
   first ones.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ....evaluators.evaluation import PROBE, WHOLE, Checks, Evaluation
from ....spaces.space import Point
from ...front import pareto_mask
from ..base import Strategy, Suggestion, Task
from .belief import believed_drops
from .cost_forecast import OF_SPIKES, CostForecast
from .damage import POINTS_PER_NAT, DamageModel
from .plan import ACCURACY, PlanModel
from .probes import Probes
from .variation import child
from .worth import Worth

Floats = NDArray[np.float64]

_CHILDREN = 200
_DOUBTS = 3
_PARENTS = 24
_WORST = 0.7
_ROOM = 0.6
_LITTLE = 0.01
"""What the base may lose beyond the uniform candidate of most bits: a share of the limit, or so
much where there is none. That one loses nothing but what the trained network was lucky with on the
search images, as whoever chose it among others by these images will find (`qkformer-cifar10` at 8
bits: 0.9 points on them, 0.3 on the test images)."""
_FAIR = 4
"""Every so many suggestions one is asked all search images."""
_EACH = 8
"""Probes for one candidate, as long as there are any: they take as many images."""
_REFIT = 400
"""Everything is fitted anew whenever one more in so many is known: a fit to 10,000 takes 0.3 s."""
_MISSES = 4
"""Parents that just miss a limit, at most: what is left of them may keep it."""


@dataclass(frozen=True)
class _Known:
    """What became of a point that was evaluated.

    Attributes:
        point: where it lies.
        evaluation: of it.
        fair: whether it was to be asked all search images, come what may.
    """

    point: Point
    evaluation: Evaluation
    fair: bool


class Joint(Strategy):
    """One search over channels, tokens, bits, states and steps, planned with a model.

    Args:
        task: what is searched, and for what.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._space = task.space
        self._probes = Probes(self._space)
        self._rounds = self._prepare()
        self._checks = WHOLE
        self._queue: list[Point] = []
        self._prepared = False
        self._since_candidate = _EACH
        self._open: dict[int, tuple[Point, Suggestion]] = {}
        self._seen: set[Point] = set()
        self._known: list[_Known] = []
        self._notable: list[_Known] = []
        self._believed: dict[Point, float] = {}
        self._fitted = 0
        self._costs = CostForecast(self._space, task.tables(), task.price)
        self._probed: list[tuple[Point, Mapping[str, float]]] = []
        self._parent: dict[str, float] = {}
        self._base: Mapping[str, float] = {"kl": 0.0, "drift": 0.0}
        self._model: PlanModel | None = None
        self._planned: list[Point] = []

    @override
    def suggest(self, index: int) -> Suggestion | None:
        if index not in self._open:
            found = self._next(index)
            if found is None:
                return None
            point, checks = found
            self._open[index] = point, Suggestion(self._space.decode(point), checks)
        return self._open[index][1]

    @override
    def update(self, index: int, evaluation: Evaluation) -> None:
        point, suggestion = self._open.pop(index)
        if not suggestion.probe:
            self._take_in(evaluation, fair=suggestion.checks is not None or evaluation.audited)
        elif "kl" in evaluation.measures:
            self._probed.append((point, evaluation.measures))
        else:
            self._probes.fail(point)

    @override
    def learn(self, evaluation: Evaluation) -> None:
        self._take_in(evaluation, fair=evaluation.audited)

    def _take_in(self, evaluation: Evaluation, *, fair: bool) -> None:
        point = self._space.encode(evaluation.candidate)
        self._seen.add(point)
        known = _Known(point, evaluation, fair)
        self._known.append(known)
        self._notable.append(known)
        if "drop" in evaluation.measures:
            self._believed[point] = evaluation.measures["drop"]
        if len(self._known) - self._fitted < len(self._known) // _REFIT:
            return
        self._fitted = len(self._known)
        self._believed = self._beliefs()
        if self._model is not None:
            self._fit(self._model)

    @override
    def outcome(self) -> Mapping[str, Any] | None:
        """With a limit of the drop: the smallest candidate that is believed to keep it.

        Not the smallest that kept it on the search images, which is one of the lucky ones; see
        `belief`. The trained network's own luck is taken off. Where none is believed to keep the
        limit, of those that kept it there the one that is believed to lose least. Without a limit
        the front is all.
        """
        limit, model = self._task.limits.drop, self._model
        if limit is None:
            return None
        luck = 0.0 if model is None else model.luck
        # Afresh: of what came since the last fit a plan knows no more than what was measured.
        believed = self._beliefs()
        good = [known for known in self._known if known.evaluation.feasible]
        kept = [known for known in good if believed[known.point] - luck <= limit]
        chosen = min(kept, key=lambda k: (_bytes(k), believed[k.point], k.point), default=None)
        if chosen is None:
            chosen = min(good, key=lambda k: (believed[k.point], k.point), default=None)
        return {
            "chosen": None if chosen is None else chosen.evaluation.key,
            "met": chosen is not None,
            "finished": self._prepared,
            "believed_drop": None if chosen is None else believed[chosen.point] - luck,
            "luck": luck,
        }

    def _next(self, index: int) -> tuple[Point, Checks | None] | None:
        """The next point and how it is evaluated; None: the search's own way, or nothing yet."""
        while not self._queue and not self._prepared and not self._waiting():
            self._queue, self._checks = next(self._rounds, ([], WHOLE))
        due = self._since_candidate >= _EACH or not self._queue
        if due and self._probed and self._model is not None:
            self._plan_anew()
        if self._queue and not (due and self._has_ideas()):
            self._since_candidate += 1
            return self._queue.pop(0), self._checks
        if self._model is None or (self._waiting() and not self._has_ideas()):
            return None
        self._since_candidate = 0
        return self._candidate(self._model, index)

    def _has_ideas(self) -> bool:
        """Whether the plan holds anything: without weights it does not before the first probes."""
        return any(point not in self._seen for point in self._planned if point != self._space.full)

    def _waiting(self) -> bool:
        """Whether something is on its way that the next round depends on."""
        return any(self._model is None or each.probe for _, each in self._open.values())

    def _candidate(self, model: PlanModel, index: int) -> tuple[Point, Checks | None]:
        point = self._best(model, random.Random(f"{self._task.seed}:{index}"))
        self._seen.add(point)
        fair = self._task.limits.drop is not None and index % _FAIR == 0
        return point, WHOLE if fair else None

    def _prepare(self) -> Iterator[tuple[list[Point], Checks]]:
        """Rounds of points to ask, each of which waits for the one before."""
        uniform = self._probes.uniform()
        # Whole: even what is too large, or loses too much, says what bits cost.
        yield [*uniform[:1], *uniform[1:][-1:]], WHOLE
        for point in uniform[1:-1]:
            if self._base_point() != uniform[-1]:
                break
            yield [point], WHOLE
        self._start_from(self._base_point())
        yield self._probes.start(), PROBE
        self._plan_anew()
        yield self._worth_probing(self._probes.first()), PROBE
        self._plan_anew()
        yield self._worth_probing(self._probes.second()), PROBE
        self._prepared = True

    def _worth_probing(self, points: Sequence[Point]) -> list[Point]:
        """Those that save something beyond the base, what saves most first."""
        if not points:
            return []
        names = [o.name for o in self._task.objectives if o.name != ACCURACY] or ["bytes"]
        every = [self._probes.base, *points]
        costs = np.sum([self._costs.ratios(name, every) for name in names], axis=0)
        order = np.argsort(costs[1:], kind="stable")
        return [points[number] for number in order if costs[1 + number] < costs[0]]

    def _plan_anew(self) -> None:
        """Take in the probes that came, and make the model from all that are known."""
        self._read_probes()
        damage = DamageModel(self._probes.tables(), self._probes.missed())
        self._model = PlanModel(self._task, self._costs, damage, self._base["kl"])
        self._fit(self._model)

    def _start_from(self, base: Point) -> None:
        self._probes.base = base
        drops, most = self._drops(), self._probes.uniform()[-1:]
        if most and {base, *most} <= drops.keys():
            self._probes.left = max(drops[base] - drops[most[0]], 0.0) / POINTS_PER_NAT

    def _drops(self) -> Mapping[Point, float]:
        known = ((known.point, known.evaluation.measures) for known in self._known)
        return {point: measures["drop"] for point, measures in known if "drop" in measures}

    def _base_point(self) -> Point:
        """The smallest of the uniform candidates that loses little, else the largest."""
        limit = self._task.limits.drop
        room = _LITTLE if limit is None else _ROOM * limit
        drops, points = self._drops(), self._probes.uniform()
        if not points:
            return self._space.full
        room += max(drops.get(points[-1], 0.0), 0.0)
        good = [point for point in points if drops.get(point, 1.0) <= room]
        return next(iter(good), points[-1])

    def _read_probes(self) -> None:
        """Take in the probes of a round, the base before those that are compared with it."""
        base = self._probes.base
        self._probed.sort(key=lambda each: each[0] != base)
        for point, measures in self._probed:
            if point == base:
                self._base = measures
            if point == self._space.full:
                self._parent = dict(measures)
        for point, measures in self._probed:
            self._read_probe(point, measures)
        self._probed = []

    def _read_probe(self, point: Point, measures: Mapping[str, float]) -> None:
        axis = self._probes.changed_axis(point)
        if axis is None and point != self._probes.base:
            return
        self._probes.note(
            point, measures["kl"] - self._base["kl"], measures["drift"] - self._base["drift"]
        )
        for name in OF_SPIKES:
            if self._parent.get(name) and measures.get(name):
                self._costs.note(point, axis, name, measures[name] / self._parent[name])

    def _beliefs(self) -> dict[Point, float]:
        """What every measured candidate is believed to lose."""
        judged = [known for known in self._known if "drop" in known.evaluation.measures]
        fair = [known.fair for known in judged]
        believed = believed_drops([known.evaluation for known in judged], fair).tolist()
        return {k.point: drop for k, drop in zip(judged, believed, strict=True)}

    def _fit(self, model: PlanModel) -> None:
        measured = [known for known in self._known if "kl" in known.evaluation.measures]
        model.learn([k.point for k in measured], [k.evaluation for k in measured], self._believed)
        self._planned = model.front()
        # Of thousands some tens are worth another look, until the next fit.
        self._notable = [*self._front_of(model, self._good(self._known)), *_misses(measured)]

    def _good(self, among: Sequence[_Known]) -> list[_Known]:
        """What is feasible and believed to be, or at least feasible."""
        feasible = [known for known in among if known.evaluation.feasible]
        limit = self._task.limits.drop
        if limit is None:
            return feasible
        return [k for k in feasible if self._believed[k.point] <= limit] or feasible

    def _best(self, model: PlanModel, rng: random.Random) -> Point:
        points = self._pool(model, rng)
        if not points:
            return self._space.encode(self._space.sample(rng))
        drops = model.drops(points)
        losses, chances = model.losses(points, drops), model.chances(points, drops)
        best = Worth(self._front(model), self._reference()).best(losses, chances)
        return points[int(np.argmax(chances)) if best is None else best]

    def _pool(self, model: PlanModel, rng: random.Random) -> list[Point]:
        """New points: plans, and children of what is good."""
        found = dict.fromkeys(self._planned)
        for _ in range(_DOUBTS):
            found |= dict.fromkeys(model.front(rng))
        parents = self._parents(model)
        for _ in range(_CHILDREN if parents else 0):
            found[child(parents, self._space, rng)] = None
        return [point for point in found if point not in self._seen]

    def _parents(self, model: PlanModel) -> list[Point]:
        """The front and near misses."""
        measured = [known for known in self._notable if "kl" in known.evaluation.measures]
        good = self._front_of(model, self._good(measured))
        step = -(-len(good) // _PARENTS) or 1
        return [known.point for known in good[::step] + _misses(measured)]

    def _front_of(self, model: PlanModel, good: list[_Known]) -> list[_Known]:
        losses = self._losses(model, good)
        mask = pareto_mask(losses, [False] * losses.shape[1])
        return [known for known, kept in zip(good, mask, strict=True) if kept]

    def _front(self, model: PlanModel) -> Floats:
        """Losses of what is feasible, and of open suggestions as they are expected."""
        rows = list(self._losses(model, self._good(self._notable)))
        waiting = [point for point, suggestion in self._open.values() if not suggestion.probe]
        if waiting:
            rows += list(model.losses(waiting, model.drops(waiting)))
        return np.array(rows).reshape(len(rows), len(self._task.objectives))

    def _losses(self, model: PlanModel, known: list[_Known]) -> Floats:
        """As believed where that is accuracy, as `PlanModel.losses` where it is a cost."""
        if not known:
            return np.empty((0, len(self._task.objectives)))
        drops = np.array([self._believed[k.point] for k in known])
        return model.losses([k.point for k in known], drops)

    def _reference(self) -> Floats:
        """A drop about that of guessing, and the trained network's costs.

        With a limit of the drop, too: measured from there, a point of accuracy would be worth
        more than any number of bytes.
        """
        return np.array([_WORST if o.name == ACCURACY else 1.0 for o in self._task.objectives])


def _bytes(known: _Known) -> float:
    return known.evaluation.measures["bytes"]


def _misses(known: Sequence[_Known]) -> list[_Known]:
    """Those that just miss a limit, the nearest first."""
    missed = [each for each in known if not each.evaluation.feasible]
    return heapq.nsmallest(_MISSES, missed, lambda k: (k.evaluation.violation, _bytes(k), k.point))
