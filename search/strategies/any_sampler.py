"""Any sampler class of Optuna, by its name."""

from __future__ import annotations

import importlib.util
import inspect
import random
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from typing_extensions import override

from ...spaces.errors import BadInput, unknown_name
from .base import Task
from .optuna_strategy import Drawn, OptunaStrategy

_SEED = "seed"
SAMPLERS: Mapping[str, type[BaseSampler]] = {
    name: getattr(optuna.samplers, name)
    for name in (
        "BruteForceSampler",
        "CmaEsSampler",
        "GPSampler",
        "GridSampler",
        "NSGAIIISampler",
        "NSGAIISampler",
        "QMCSampler",
        "RandomSampler",
        "TPESampler",
    )
}
"""All of `optuna.samplers` but abstract ones, and PartialFixedSampler, which wraps another one."""

_PACKAGES = {"CmaEsSampler": "cmaes"}
"""That Optuna imports only when it is asked."""
_ONE_OBJECTIVE = frozenset({"CmaEsSampler"})


class AnySampler(OptunaStrategy):
    """A sampler as Optuna has it: nothing is drawn for it in advance.

    Args:
        task: what is searched, and for what.
        sampler: name of a class of `optuna.samplers`.
        arguments: of that class; the search's seed is handed over unless it is named.

    Raises:
        BadInput: an unknown class or argument, one that cannot be built with these arguments, or
            one that does a single objective only.
    """

    def __init__(self, task: Task, sampler: object, arguments: object) -> None:
        super().__init__(task)
        if sampler not in SAMPLERS:
            raise unknown_name("sampler of Optuna", str(sampler), SAMPLERS)
        if not isinstance(arguments, Mapping):
            raise BadInput(f"strategy.options.arguments is {arguments!r}; give {{name: value}}.")
        if sampler in _ONE_OBJECTIVE and len(task.objectives) > 1:
            names = ", ".join(objective.name for objective in task.objectives)
            raise BadInput(
                f"{sampler} has one objective, and this search has {names}; set objectives to "
                "[accuracy] and limit the rest by constraints, or take another sampler."
            )
        self._sampler = _build(str(sampler), arguments, task.seed)

    @override
    def _draw(self, index: int, rng: random.Random) -> Drawn:
        return self._asked(self._sampler)


def _build(name: str, arguments: Mapping[str, Any], seed: int) -> BaseSampler:
    kind = SAMPLERS[name]
    package = _PACKAGES.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        raise BadInput(f"{name} needs the package {package}; install it, or take another sampler.")
    # Functions cannot stand in a config, and constraints are told as measured.
    known = inspect.signature(kind).parameters.keys() - {"constraints_func"}
    for argument in arguments:
        if argument not in known:
            raise unknown_name(f"argument of {name}", argument, known)
    seeded = {_SEED: seed} if _SEED in known else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return kind(**{**seeded, **arguments})
    except (TypeError, ValueError, ImportError) as error:
        raise BadInput(f"{name} cannot be built from {dict(arguments)}: {error}") from None
