"""NSGA-II by Optuna, with constraints, a structured first generation and no repetitions."""

from __future__ import annotations

import random
from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import NSGAIISampler
from optuna.trial import Trial, TrialState
from typing_extensions import override

from ...evaluators.evaluation import Evaluation
from ...spaces.candidate import Candidate
from ...spaces.site import SiteKind
from ...spaces.space import Point, Space
from ..front import Objective
from .base import Strategy

_VIOLATION = "violation"
_REDRAWS = 20
"""Attempts to turn a suggestion that was made before into a new one, by changing an axis."""


class Nsga2(Strategy):
    """Elitist genetic search over several objectives (Deb et al. 2002).

    The first generation is the trained network itself and candidates with bit-widths drawn at all
    granularities in turn, from one for the whole network to one per layer, and at most two
    structural changes (channels, tokens, steps). Uniform draws on all axes would nearly all hold
    a ruined layer: of 40 on the digits network 38 lost more than 1.5 points. Crossover then puts
    together what proved harmless alone.

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
        self._asked: dict[int, tuple[Candidate, Trial]] = {}
        self._keys: set[str] = set()

    @override
    def suggest(self, index: int) -> Candidate:
        if index not in self._asked:
            self._asked[index] = self._ask(index)
        return self._asked[index][0]

    @override
    def update(self, evaluations: Sequence[Evaluation]) -> None:
        for evaluation in evaluations:
            index = next(i for i, (c, _) in self._asked.items() if c == evaluation.candidate)
            _, trial = self._asked.pop(index)
            self._tell(trial, evaluation)

    def _ask(self, index: int) -> tuple[Candidate, Trial]:
        rng = random.Random(f"{self._seed}:{index}")
        point = self._first_generation(index, rng) if index < self._population else None
        for _ in range(_REDRAWS):
            trial = self._draw(point, rng)
            drawn = tuple(int(trial.params[axis.name]) for axis in self._space.axes)
            candidate = self._space.decode(drawn)
            if candidate.key not in self._keys:
                break
            point = self._mutated(drawn, rng)
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            # The neighbourhood is used up: the last one is suggested again, and costs nothing.
            trial = self._draw(point, rng)
            candidate = self._space.decode([trial.params[a.name] for a in self._space.axes])
        self._keys.add(candidate.key)
        return candidate, trial

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

    def _draw(self, point: Point | None, rng: random.Random) -> Trial:
        """Trial at a point, or wherever the sampler wants."""
        self._study.sampler = NSGAIISampler(
            population_size=self._population, seed=rng.randrange(2**32)
        )
        if point is not None:
            names = (axis.name for axis in self._space.axes)
            self._study.enqueue_trial(dict(zip(names, point, strict=True)))
        return self._study.ask(self._distributions)

    def _mutated(self, point: Point, rng: random.Random) -> Point:
        changed = list(point)
        axis = rng.randrange(len(changed))
        changed[axis] = rng.randrange(len(self._space.axes[axis].levels))
        return tuple(changed)

    def _tell(self, trial: Trial, evaluation: Evaluation) -> None:
        measures = evaluation.measures
        if "bytes" not in measures:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        trial.set_constraint(_VIOLATION, evaluation.violation)
        # A measure that a rejected candidate never reached only has to be finite: among
        # infeasible trials the violation decides alone.
        values = [measures.get(objective.name, 0.0) for objective in self._objectives]
        self._study.tell(trial, values)
