"""Strategies by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ...spaces.errors import BadInput, unknown_name
from ..config_sections import StrategySection
from .any_sampler import AnySampler
from .aq4svit import GateOptions
from .aq4svit_beam import Aq4svitBeam, BeamOptions
from .aq4svit_greedy import Aq4svitGreedy
from .base import Strategy, Task
from .joint import Joint
from .limited_method import require_number
from .nsga2 import Nsga2
from .nsga3 import Nsga3
from .primesvt import PrimeSVT
from .psvit import PSViT
from .sensitivity import Sensitivity
from .surrogates import Gp, Tpe
from .synapse_pruning import SynapsePruning
from .tp_spikformer import FixedSchedule, ScheduleSearch
from .uniform import Uniform
from .uniform_random import RandomStrategy
from .warm_start import Findings, WarmStart

Builder = Callable[[Task, StrategySection], Strategy]


def _random(task: Task, settings: StrategySection) -> Strategy:
    no_options(settings)
    return RandomStrategy(task)


def _joint(task: Task, settings: StrategySection) -> Strategy:
    no_options(settings)
    return Joint(task)


def _nsga2(task: Task, settings: StrategySection) -> Strategy:
    no_options(settings)
    return Nsga2(task, settings.population)


def _nsga3(task: Task, settings: StrategySection) -> Strategy:
    no_options(settings)
    return Nsga3(task, settings.population)


def _tpe(task: Task, settings: StrategySection) -> Strategy:
    return Tpe(task, **_startup(settings, 20))


def _gp(task: Task, settings: StrategySection) -> Strategy:
    return Gp(task, **_startup(settings, 10))


def _startup(settings: StrategySection, default: int) -> dict[str, Any]:
    options = take_options(settings, {"startup": default})
    require_number("startup", options["startup"], least=1, whole=True)
    return options


def _optuna(task: Task, settings: StrategySection) -> Strategy:
    return AnySampler(task, **take_options(settings, {"sampler": None, "arguments": {}}))


def _aq4svit_greedy(task: Task, settings: StrategySection) -> Strategy:
    options = GateOptions(**take_options(settings, asdict(GateOptions())))
    return Aq4svitGreedy(task, settings.name, options)


def _aq4svit_beam(task: Task, settings: StrategySection) -> Strategy:
    options = BeamOptions(**take_options(settings, asdict(BeamOptions())))
    return Aq4svitBeam(task, settings.name, options)


def _tp_spikformer(task: Task, settings: StrategySection) -> Strategy:
    options = take_options(settings, {"schedule": None, "ratios": None})
    if any(value is not None for value in options.values()):
        return FixedSchedule(task, settings.name, **options)
    return ScheduleSearch(task, settings.name)


def _uniform(task: Task, settings: StrategySection) -> Strategy:
    no_options(settings)
    return Uniform(task)


def _sensitivity(task: Task, settings: StrategySection) -> Strategy:
    return Sensitivity(task, **take_options(settings, {"stage": "drift"}))


def _psvit(task: Task, settings: StrategySection) -> Strategy:
    defaults = {"groups": "blocks", "sensitivity": None}
    return PSViT(task, settings.name, **take_options(settings, defaults))


def _primesvt(task: Task, settings: StrategySection) -> Strategy:
    defaults = {"order": "size", "robust_drop": 0.01, "sensitivity": None}
    return PrimeSVT(task, settings.name, **take_options(settings, defaults))


def _synapse_pruning(task: Task, settings: StrategySection) -> Strategy:
    return SynapsePruning(task, settings.name, **take_options(settings, {"mode": "l1p"}))


STRATEGIES: Mapping[str, Builder] = {
    "joint": _joint,
    "aq4svit-beam": _aq4svit_beam,
    "aq4svit-greedy": _aq4svit_greedy,
    "gp": _gp,
    "nsga2": _nsga2,
    "nsga3": _nsga3,
    "optuna": _optuna,
    "primesvt": _primesvt,
    "psvit": _psvit,
    "random": _random,
    "sensitivity": _sensitivity,
    "synapse-pruning": _synapse_pruning,
    "tpe": _tpe,
    "tp-spikformer": _tp_spikformer,
    "uniform": _uniform,
}
"""Builder of each strategy."""


def build_strategy(task: Task, settings: StrategySection) -> Strategy:
    """Strategy that a config names.

    Args:
        task: what is searched, and for what.
        settings: name, population and the strategy's own options.

    Raises:
        BadInput: unknown name or option, a limit that the strategy needs is missing, or a warm
            start without anything that fits the space.
        CorruptFile: a run of the warm start cannot be read.
    """
    if settings.name not in STRATEGIES:
        raise unknown_name("strategy", settings.name, STRATEGIES)
    strategy = STRATEGIES[settings.name](task, settings)
    if not settings.warm_start:
        return strategy
    return WarmStart(strategy, Findings.read(settings.warm_start, task.space))


def no_options(settings: StrategySection) -> None:
    """Refuse options where there are none (BadInput)."""
    take_options(settings, {})


def take_options(settings: StrategySection, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a strategy over their defaults.

    Raises:
        BadInput: an option that it does not take.
    """
    unknown = [name for name in settings.options if name not in defaults]
    if unknown:
        got = ", ".join(map(repr, unknown))
        takes = f"only {', '.join(sorted(defaults))}" if defaults else "no options"
        raise BadInput(f"strategy {settings.name!r} takes {takes}, got {got}; leave them out.")
    return {**defaults, **settings.options}
