"""Strategies by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...spaces.errors import BadInput, unknown_name
from ...spaces.space import Space
from ..config_sections import StrategySection
from ..front import Objective
from .base import Strategy
from .nsga2 import Nsga2
from .uniform_random import RandomStrategy

Builder = Callable[[Sequence[Space], Sequence[Objective], int, StrategySection], Strategy]


def _random(
    spaces: Sequence[Space], objectives: Sequence[Objective], seed: int, settings: StrategySection
) -> Strategy:
    _no_options(settings.name, settings.options)
    return RandomStrategy(spaces[-1], seed)


def _nsga2(
    spaces: Sequence[Space], objectives: Sequence[Objective], seed: int, settings: StrategySection
) -> Strategy:
    _no_options(settings.name, settings.options)
    return Nsga2(spaces, objectives, seed, settings.population)


STRATEGIES: Mapping[str, Builder] = {"nsga2": _nsga2, "random": _random}
"""Builder of each strategy."""


def build_strategy(
    spaces: Sequence[Space], objectives: Sequence[Objective], seed: int, settings: StrategySection
) -> Strategy:
    """Strategy that a config names.

    Args:
        spaces: the searched axes at all granularities up to the searched one, coarse to fine.
        objectives: what is optimised.
        seed: of everything that is random.
        settings: name, population and the strategy's own options.

    Raises:
        BadInput: unknown name or option.
    """
    if settings.name not in STRATEGIES:
        raise unknown_name("strategy", settings.name, STRATEGIES)
    return STRATEGIES[settings.name](spaces, objectives, seed, settings)


def _no_options(strategy: str, options: Mapping[str, Any]) -> None:
    if options:
        got = ", ".join(map(repr, options))
        raise BadInput(f"strategy {strategy!r} takes no options, got {got}; leave them out.")
