"""NSGA-II by Optuna, with constraints, a structured first generation and no repetitions."""

from __future__ import annotations

import random
import warnings
from typing import Any, ClassVar

import optuna
from optuna.samplers import NSGAIIISampler, NSGAIISampler
from typing_extensions import override

from ...spaces.space import Point
from .base import Task
from .optuna_strategy import Drawn, OptunaStrategy, over_whole_space
from .structured_draws import structured_point
from .variation import LocalVariation


class Nsga2(OptunaStrategy):
    """Elitist genetic search over several objectives (Deb et al. 2002).

    The first generation is that of `structured_point`. Crossover then puts together what proved
    harmless alone.

    Args:
        task: what is searched, and for what.
        population: size of a generation.
    """

    _kind: ClassVar[type[NSGAIISampler] | type[NSGAIIISampler]] = NSGAIISampler

    def __init__(self, task: Task, population: int) -> None:
        super().__init__(task)
        self._population = population

    @override
    def _draw(self, index: int, rng: random.Random) -> Drawn:
        if index < self._population:
            return self._foreign(structured_point(self._spaces, index, rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = self._kind(
                population_size=self._population,
                seed=rng.randrange(2**32),
                child_generation_strategy=LocalVariation(rng.randrange(2**32)),
                **self._options(),
            )
        return self._asked(over_whole_space(sampler, self._distributions))

    @override
    def _foreign(self, point: Point) -> Drawn:
        # Optuna counts points that it did not draw to no generation.
        return Drawn(point, {self._kind._get_generation_key(): 0})

    def _options(self) -> dict[str, Any]:
        """What else the sampler is built with."""
        return {}
