"""How NSGA-II makes a child: uniform crossover, then small steps along a few axes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

_CROSSOVER = 0.6
_EXTRA_STEP = 0.6
"""Probability of one more changed axis, again and again: 2.5 axes on average."""
_DOWN = 0.65
_FAR = 0.15
"""Probability that an axis is drawn anew instead of stepping to a neighbouring level."""


class LocalVariation:
    """Children near their parents.

    Levels are ordered, and the next bit-width or keep ratio is nearly as good or as bad as this
    one, so children step to neighbouring levels, more often down (smaller) than up. Optuna's own
    mutation draws an axis anew, which may be 2 bits where 6 were needed.

    Args:
        seed: of this one child.
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def __call__(
        self,
        study: Study,
        search_space: Mapping[str, BaseDistribution],
        parent_population: list[FrozenTrial],
    ) -> dict[str, Any]:
        """Level number of every axis of a child of two members of the elite."""
        names = sorted(search_space)
        first = self._parent(parent_population)
        second = self._parent(parent_population)
        mixed = self._rng.random() < _CROSSOVER
        child = {
            name: (second if mixed and self._rng.random() < 0.5 else first).params[name]
            for name in names
        }
        self._step(child, names, search_space)
        while self._rng.random() < _EXTRA_STEP:
            self._step(child, names, search_space)
        return child

    def _parent(self, population: list[FrozenTrial]) -> FrozenTrial:
        """A feasible member where there is one, else one of two with the smaller violation."""
        feasible = [trial for trial in population if _violation(trial) <= 0]
        if feasible:
            return self._rng.choice(feasible)
        return min(self._rng.choice(population), self._rng.choice(population), key=_violation)

    def _step(
        self, child: dict[str, Any], names: list[str], space: Mapping[str, BaseDistribution]
    ) -> None:
        name = self._rng.choice(names)
        axis = space[name]
        assert isinstance(axis, IntDistribution)
        if self._rng.random() < _FAR:
            child[name] = self._rng.randint(axis.low, axis.high)
            return
        step = -1 if self._rng.random() < _DOWN else 1
        child[name] = min(max(child[name] + step, axis.low), axis.high)


def _violation(trial: FrozenTrial) -> float:
    return sum(max(value, 0.0) for value in trial.constraints.values())
