"""Samplers that model what was told: the tree-structured Parzen estimator, Gaussian processes."""

from __future__ import annotations

import abc
import random
import warnings

import optuna
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from typing_extensions import override

from ...spaces.errors import BadInput
from .base import Task
from .optuna_strategy import Drawn, OptunaStrategy, over_whole_space
from .structured_draws import structured_point

MOST_GP_AXES = 12
"""A Gaussian process over 50 axes took 5.9 s per suggestion after 50 evaluations."""


class _Surrogate(OptunaStrategy):
    """A model of what was told, and the point that it promises most of.

    Until `startup` evaluations are told, points are those of `structured_point`. What is on its
    way is shown to the model, so that suggestions of one window keep away from each other.
    """

    def __init__(self, task: Task, startup: int) -> None:
        super().__init__(task, shows_open=True)
        self._startup = startup

    @override
    def _draw(self, index: int, rng: random.Random) -> Drawn:
        if index < self._startup or self._told < self._startup:
            return Drawn(structured_point(self._spaces, index, rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = self._sampler(rng.randrange(2**32))
        return self._asked(over_whole_space(sampler, self._distributions))

    @abc.abstractmethod
    def _sampler(self, seed: int) -> BaseSampler:
        """Sampler of one suggestion."""


class Tpe(_Surrogate):
    """Parzen estimators of good and of other points, over all axes at once.

    Watanabe 2023 (arXiv 2304.11127). What is on its way counts as not good ("constant liar").

    Args:
        task: what is searched, and for what.
        startup: evaluations before the first suggestion of its own.
    """

    @override
    def _sampler(self, seed: int) -> BaseSampler:
        # Its own startup is over: 0 keeps it from drawing at random.
        return TPESampler(n_startup_trials=0, multivariate=True, constant_liar=True, seed=seed)


class Gp(_Surrogate):
    """Gaussian processes of objectives and violation, and the expected gain of hypervolume.

    Args:
        task: what is searched, and for what.
        startup: evaluations before the first suggestion of its own.

    Raises:
        BadInput: more than `MOST_GP_AXES` axes.
    """

    def __init__(self, task: Task, startup: int) -> None:
        axes = len(task.space.axes)
        if axes > MOST_GP_AXES:
            raise BadInput(
                f"strategy 'gp' models at most {MOST_GP_AXES} axes, and this space has {axes}; "
                "set space.granularity to stage or network, name fewer levels, or take 'tpe'."
            )
        super().__init__(task, startup)

    @override
    def _sampler(self, seed: int) -> BaseSampler:
        return GPSampler(n_startup_trials=0, seed=seed)
