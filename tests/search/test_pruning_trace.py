"""The pruning methods in whole searches: the same trace whatever workers do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from made_up_pruning import Network, channel, keep, spaces
from simulated import SimulatedBackend
from simulated_search import Setup, digest, front_of, run

from spikefront.search.config_sections import StrategySection
from spikefront.search.controller import Budget
from spikefront.search.strategies import Strategy, Task, build_strategy
from spikefront.spaces import Site, SiteKind

NAMES = ("uniform", "sensitivity", "psvit", "primesvt", "synapse-pruning")
LEVELS = {
    SiteKind.CHANNEL: keep((0.1, 0.2, 0.3, 0.5, 0.7)),
    SiteKind.DENSITY: keep((0.5, 0.8, 0.9)),
}
SITES = [
    site
    for number in range(3)
    for site in (
        channel("mlp.hidden", f"block.{number}", 40 + 20 * number),
        channel("attn.qk", f"block.{number}", 16, 4),
        Site(f"block.{number}.mlp.fc1", SiteKind.DENSITY, 100, "encoder", f"block.{number}"),
    )
]
NETWORK = Network(
    spaces(SITES, LEVELS),
    {site.name: lambda missing, n=n: 0.004 * (1 + n) * missing for n, site in enumerate(SITES)},
)


@dataclass(frozen=True)
class Pruning(Setup):
    """A search over the made-up network."""

    network: Network = field(default_factory=lambda: NETWORK)
    options: dict[str, Any] = field(default_factory=dict)

    def make_task(self) -> Task:
        return self.network.task

    def make_strategy(self) -> Strategy:
        section = StrategySection.model_construct(
            name=self.strategy, population=10, options=self.options
        )
        return build_strategy(self.make_task(), section)

    def make_backend(self, **behaviour: Any) -> SimulatedBackend:
        return SimulatedBackend(self.network, capacity=self.window, **behaviour)


def setup(name: str, **changes: Any) -> Pruning:
    found = Pruning(name, spaces=tuple(NETWORK.spaces), **changes)
    return replace(found, budget=Budget(500))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("window", [1, 7])
def test_the_trace_is_the_same_with_any_workers_and_deaths(name: str, window: int, tmp_path: Path):
    found = setup(name, window=window)
    reference = run(found, tmp_path / "reference")
    assert len(reference.evaluations) > 3
    for workers in (1, 2, 8):
        for deaths in (0.0, 0.3):
            path = tmp_path / f"{workers}-{deaths}"
            backend = found.make_backend(workers=workers, deaths=deaths, seed=workers)
            controller = run(found, path, backend)
            assert digest(path) == digest(tmp_path / "reference")
            assert front_of(controller) == front_of(reference)
            assert (backend.redone > 0) == (deaths > 0)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_evaluated_twice(name: str, tmp_path: Path):
    controller = run(setup(name), tmp_path / "ledger")
    keys = [evaluation.key for evaluation in controller.evaluations]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", NAMES[2:])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_failures_do_not_stop_a_method(name: str, share: float, tmp_path: Path):
    """Whatever fails passes nothing; the method ends, and chooses what was measured."""
    clean = run(setup(name), tmp_path / "clean")
    keys = sorted(evaluation.key for evaluation in clean.evaluations)
    failing = replace(NETWORK, failing=frozenset(keys[: round(share * len(keys))]))
    found = replace(setup(name), network=failing)
    strategy = found.make_strategy()
    controller = run(found, tmp_path / "failing", strategy=strategy)
    outcome = strategy.outcome()
    assert outcome is not None and outcome["finished"]
    assert outcome["chosen"] not in failing.failing
    measured = {evaluation.key for evaluation in controller.evaluations if evaluation.feasible}
    assert outcome["chosen"] is None or outcome["chosen"] in measured
