"""What all samplers of Optuna have in common: the study, what it is told, no repetitions."""

from __future__ import annotations

import abc
import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial
from typing_extensions import override

from ...evaluators.evaluation import Evaluation, State
from ...spaces.candidate import Candidate
from ...spaces.errors import BadInput
from ...spaces.space import Point
from ..front import Objective
from .base import Strategy, Suggestion, Task

_VIOLATION = "violation"
_REDRAWS = 20
"""Attempts to turn a suggestion that was made before into a new one, by changing an axis."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A point, and what the sampler noted of it, which it looks for when it is told."""

    point: Point
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Open:
    candidate: Candidate
    drawn: Drawn
    trial: int | None


class OptunaStrategy(Strategy):
    """A sampler of Optuna behind the interface of a strategy.

    The study lives in memory and is rebuilt when a resumed search replays its calls. The trial
    that a sampler is asked with is closed at once, and whatever is told is added as a trial of
    its own: the point may have been changed so that it is new, or come from elsewhere.

    Rejected and infeasible candidates are told as complete with their constraint violation:
    Optuna's samplers only learn from complete trials. What was only probed is not told.

    Args:
        task: what is searched, and for what.
        shows_open: whether the sampler is shown what is still on its way, to keep away from it.
    """

    def __init__(self, task: Task, *, shows_open: bool = False) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = task.space
        self._spaces = tuple(task.spaces)
        self._objectives = tuple(task.objectives)
        self._seed = task.seed
        self._distributions: dict[str, BaseDistribution] = {
            axis.name: IntDistribution(0, len(axis.levels) - 1) for axis in self._space.axes
        }
        self._study = optuna.create_study(
            directions=["maximize" if o.maximise else "minimize" for o in self._objectives]
        )
        self._told = 0
        self._shows_open = shows_open
        self._worst: dict[str, float] = {}
        self._open: dict[int, _Open] = {}
        self._keys: set[str] = set()

    @override
    def suggest(self, index: int) -> Suggestion:
        if index not in self._open:
            self._open[index] = self._new(index)
        return Suggestion(self._open[index].candidate)

    @override
    def update(self, index: int, evaluation: Evaluation) -> None:
        open_ = self._open.pop(index)
        if open_.trial is not None:
            self._close(open_.trial)
        self._tell(open_.drawn, evaluation)

    @override
    def learn(self, evaluation: Evaluation) -> None:
        if evaluation.state is State.PROBED:
            return
        try:
            point = self._space.encode(evaluation.candidate)
        except BadInput:
            return
        self._keys.add(evaluation.key)
        self._tell(self._foreign(point), evaluation)

    @abc.abstractmethod
    def _draw(self, index: int, rng: random.Random) -> Drawn:
        """What the sampler suggests; `rng` is seeded for this suggestion."""

    def _foreign(self, point: Point) -> Drawn:
        """A point that somebody else suggested, as the sampler must find it."""
        return Drawn(point)

    def _asked(self, sampler: BaseSampler) -> Drawn:
        """Point that a sampler makes of what was told."""
        self._study.sampler = sampler
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self._study.ask(self._distributions)
        self._close(trial.number)
        drawn = self._study.get_trials(deepcopy=False)[trial.number]
        point = tuple(int(drawn.params[axis.name]) for axis in self._space.axes)
        return Drawn(point, dict(drawn.system_attrs))

    def _close(self, number: int) -> None:
        """End a trial that says nothing.

        Its sampler is not asked: one that has seen all points wants to stop a loop of Optuna's.
        """
        self._study.sampler = RandomSampler()
        self._study.tell(number, state=TrialState.FAIL)

    def _new(self, index: int) -> _Open:
        rng = random.Random(f"{self._seed}:{index}")
        drawn = self._draw(index, rng)
        for _ in range(_REDRAWS):
            if self._space.decode(drawn.point).key not in self._keys:
                break
            drawn = Drawn(self._mutated(drawn.point, rng), drawn.notes)
        # Where the neighbourhood is used up, the last one is suggested again, and costs nothing.
        candidate = self._space.decode(drawn.point)
        self._keys.add(candidate.key)
        return _Open(candidate, drawn, self._show(drawn.point) if self._shows_open else None)

    def _mutated(self, point: Point, rng: random.Random) -> Point:
        changed = list(point)
        axis = rng.randrange(len(changed))
        changed[axis] = rng.randrange(len(self._space.axes[axis].levels))
        return tuple(changed)

    def _show(self, point: Point) -> int:
        """Add a running trial; its number."""
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=self._params(point),
                distributions=self._distributions,
            )
        )
        return len(self._study.get_trials(deepcopy=False)) - 1

    def _tell(self, drawn: Drawn, evaluation: Evaluation) -> None:
        measures = evaluation.measures
        if evaluation.state is State.PROBED or "bytes" not in measures:
            return
        self._told += 1
        self._study.add_trial(
            create_trial(
                params=self._params(drawn.point),
                distributions=self._distributions,
                values=[self._value(objective, measures) for objective in self._objectives],
                constraints={_VIOLATION: evaluation.violation},
                system_attrs=dict(drawn.notes),
            )
        )

    def _value(self, objective: Objective, measures: Mapping[str, float]) -> float:
        """Measure of an objective; one that a rejected candidate never reached: the worst so far.

        Among infeasible trials most samplers let the violation decide alone; a Gaussian process
        models the values of all of them.
        """
        worst = max if not objective.maximise else min
        value = measures.get(objective.name)
        if value is None:
            return self._worst.get(objective.name, 0.0)
        self._worst[objective.name] = worst(value, self._worst.get(objective.name, value))
        return value

    def _params(self, point: Point) -> dict[str, int]:
        return dict(zip(self._distributions, point, strict=True))


def over_whole_space(sampler: BaseSampler, space: Mapping[str, BaseDistribution]) -> BaseSampler:
    """The sampler, told the space. By itself it works it out from all trials, for every ask."""

    def infer(study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(space)

    sampler.infer_relative_search_space = infer
    return sampler
