"""NSGA-II by Optuna, with constraints, a structured first generation and no repetitions."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import NSGAIISampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial
from typing_extensions import override

from ...evaluators.evaluation import Evaluation
from ...spaces.candidate import Candidate
from ...spaces.site import SiteKind
from ...spaces.space import Point, Space
from ..front import Objective
from .base import Strategy
from .variation import LocalVariation

_VIOLATION = "violation"
_REDRAWS = 20
"""Attempts to turn a suggestion that was made before into a new one, by changing an axis."""


class _Sampler(NSGAIISampler):
    """Knows the space. Optuna's own works it out from all trials, anew for every child."""

    def __init__(self, space: dict[str, BaseDistribution], **options: Any) -> None:
        super().__init__(**options)
        self._whole_space = space

    @override
    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._whole_space


_GENERATION = _Sampler._get_generation_key()


@dataclass(frozen=True, slots=True)
class _Suggestion:
    candidate: Candidate
    point: Point
    generation: int


class Nsga2(Strategy):
    """Elitist genetic search over several objectives (Deb et al. 2002).

    The first generation is the trained network itself and candidates with bit-widths drawn at all
    granularities in turn, from one for the whole network to one per layer, and at most two
    structural changes (channels, tokens, steps). Draws on all axes at once mostly hold a ruined
    layer: 33 of the first 40 on the digits network were rejected. Crossover then puts together
    what proved harmless alone.

    Rejected and infeasible candidates are told as complete with their constraint violation:
    Optuna's sampler only looks at complete trials.

    Args:
        spaces: the same axes from coarse to fine; the last one is searched.
        objectives: what is optimised.
        seed: of everything that is random.
        population: size of a generation.
    """

    def __init__(
        self,
        spaces: Sequence[Space],
        objectives: Sequence[Objective],
        seed: int,
        population: int,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._spaces = tuple(spaces)
        self._space = self._spaces[-1]
        self._objectives = tuple(objectives)
        self._seed = seed
        self._population = population
        self._distributions: dict[str, BaseDistribution] = {
            axis.name: IntDistribution(0, len(axis.levels) - 1) for axis in self._space.axes
        }
        self._study = optuna.create_study(
            directions=["maximize" if o.maximise else "minimize" for o in objectives]
        )
        self._open: dict[int, _Suggestion] = {}
        self._keys: set[str] = set()

    @override
    def suggest(self, index: int) -> Candidate:
        if index not in self._open:
            self._open[index] = self._new(index)
        return self._open[index].candidate

    @override
    def update(self, evaluations: Sequence[Evaluation]) -> None:
        for evaluation in evaluations:
            index = next(i for i, s in self._open.items() if s.candidate == evaluation.candidate)
            self._tell(self._open.pop(index), evaluation)

    def _new(self, index: int) -> _Suggestion:
        rng = random.Random(f"{self._seed}:{index}")
        if index < self._population:
            point, generation = self._first_generation(index, rng), 0
        else:
            point, generation = self._child(rng)
        for _ in range(_REDRAWS):
            if self._space.decode(point).key not in self._keys:
                break
            point = self._mutated(point, rng)
        # Where the neighbourhood is used up, the last one is suggested again, and costs nothing.
        candidate = self._space.decode(point)
        self._keys.add(candidate.key)
        return _Suggestion(candidate, point, generation)

    def _first_generation(self, index: int, rng: random.Random) -> Point:
        if index == 0:
            return self._space.full
        space = self._spaces[index % len(self._spaces)]
        point = list(space.full)
        structural = []
        for number, axis in enumerate(space.axes):
            if axis.kind is SiteKind.WEIGHT:
                point[number] = rng.randrange(len(axis.levels))
            else:
                structural.append(number)
        for number in rng.sample(structural, min(rng.randrange(3), len(structural))):
            point[number] = rng.randrange(len(space.axes[number].levels))
        return self._space.encode(space.decode(point))

    def _child(self, rng: random.Random) -> tuple[Point, int]:
        """Point that the sampler makes of the elite, and the generation that it counts to.

        The trial that it was asked with is closed at once: whatever is told is added as a trial
        of its own, because Optuna counts points that it did not draw to no generation.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = _Sampler(
                self._distributions,
                population_size=self._population,
                seed=rng.randrange(2**32),
                child_generation_strategy=LocalVariation(rng.randrange(2**32)),
            )
        trial = self._study.ask(self._distributions)
        self._study.tell(trial, state=TrialState.FAIL)
        drawn = self._study.get_trials(deepcopy=False)[trial.number]
        generation = drawn.system_attrs.get(_GENERATION, 0)
        return tuple(int(drawn.params[axis.name]) for axis in self._space.axes), generation

    def _mutated(self, point: Point, rng: random.Random) -> Point:
        changed = list(point)
        axis = rng.randrange(len(changed))
        changed[axis] = rng.randrange(len(self._space.axes[axis].levels))
        return tuple(changed)

    def _tell(self, suggestion: _Suggestion, evaluation: Evaluation) -> None:
        measures = evaluation.measures
        if "bytes" not in measures:
            return
        names = (axis.name for axis in self._space.axes)
        # A measure that a rejected candidate never reached only has to be finite: among
        # infeasible trials the violation decides alone.
        trial = create_trial(
            params=dict(zip(names, suggestion.point, strict=True)),
            distributions=self._distributions,
            values=[measures.get(objective.name, 0.0) for objective in self._objectives],
            constraints={_VIOLATION: evaluation.violation},
            system_attrs={_GENERATION: suggestion.generation},
        )
        self._study.add_trial(trial)
