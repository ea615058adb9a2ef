"""Strategies driven by hand, each on a task that suits it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulated import LEVELS, SITES, SPACES, SimulatedEvaluator
from simulated_search import Setup

from spikefront.evaluators.evaluation import Evaluation, Request
from spikefront.search.strategies import Strategy, Suggestion
from spikefront.spaces import BadInput, Candidate, Granularity, Site, SiteKind, Space

POPULATION = 10

_NAMED = [
    Site(f"block.{number}.{layer}", SiteKind.DENSITY, 100, "encoder", f"block.{number}")
    for number in range(4)
    for layer in ("attn.q", "mlp.fc1")
]
_DENSITIES = {SiteKind.DENSITY: (0.1, 0.2, 0.3, 0.5)}
SPARSE = (Space.build([*SITES, *_NAMED], Granularity.LAYER, {**LEVELS, **_DENSITIES}),)
"""With matrices by the names that networks give them; what is missing there costs nothing."""

_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "optuna": {"sampler": "TPESampler"},
}
"""Of strategies that need some."""

_LIMITS = (SimulatedEvaluator(max_drop=0.2), SimulatedEvaluator(max_drop=0.2, max_bytes=110_000))


def fitting(name: str, seed: int = 0, **changes: Any) -> Setup:
    """The first of some tasks that the strategy does not refuse; changes are of the setup."""
    refused: list[str] = []
    for spaces in (SPACES, SPACES[:1], SPARSE):
        for evaluator in _LIMITS:
            setup = Setup(
                strategy=name,
                seed=seed,
                population=POPULATION,
                options=_OPTIONS.get(name, {}),
                **{"spaces": spaces, "evaluator": evaluator, **changes},
            )
            try:
                setup.make_strategy()
            except BadInput as error:
                refused.append(str(error))
            else:
                return setup
    raise AssertionError(f"no task suits {name}: {refused}")


def make(name: str, seed: int = 0, **changes: Any) -> Strategy:
    """A strategy on a task that suits it."""
    return fitting(name, seed, **changes).make_strategy()


def asked(strategy: Strategy, index: int) -> Candidate:
    """Candidate number `index`; the strategy must have one."""
    suggestion = strategy.suggest(index)
    assert suggestion is not None
    return suggestion.candidate


def judged(setup: Setup, suggestion: Suggestion) -> Evaluation:
    """What the simulated evaluator says."""
    return setup.evaluator(Request(suggestion.candidate, checks=suggestion.checks))


def play(setup: Setup, count: int) -> list[str]:
    """Keys of the first suggestions, each one evaluated before the next one is asked for."""
    strategy, keys = setup.make_strategy(), []
    for index in range(count):
        suggestion = strategy.suggest(index)
        if suggestion is None:
            break
        strategy.update(index, judged(setup, suggestion))
        keys.append(suggestion.candidate.key)
    return keys
