"""A search over the made-up network, put together as a real one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from simulated import SPACES, SimulatedBackend, SimulatedEvaluator, cost_tables, price

from spikefront.search.config_sections import GateSection, StrategySection
from spikefront.search.controller import Budget, Controller
from spikefront.search.front import Front, Objective
from spikefront.search.gate import GatePolicy
from spikefront.search.ledger import Event, Ledger, trace_digest
from spikefront.search.strategies import STRATEGIES, Limits, Strategy, Task, build_strategy
from spikefront.spaces import Candidate, Space

OBJECTIVES = (Objective("accuracy", maximise=True), Objective("bytes"))
REFERENCE = {"accuracy": 0.1, **price(Candidate())}
"""Of the hypervolume: guessing, at the costs of the trained network."""
STRICT_GATE = GateSection(warmup=6, false_reject_rate=0.25, audit_share=0.2)
"""Begins to reject after few candidates, so that short searches see it."""


@dataclass(frozen=True)
class Setup:
    """Everything that a search's trace may depend on."""

    strategy: str = "random"
    seed: int = 0
    window: int = 6
    budget: Budget = field(default_factory=lambda: Budget(40))
    ordered: bool = True
    population: int = 10
    spaces: tuple[Space, ...] = SPACES
    gate: GateSection = STRICT_GATE
    evaluator: SimulatedEvaluator = field(default_factory=SimulatedEvaluator)
    objectives: tuple[Objective, ...] = OBJECTIVES
    options: Mapping[str, Any] = field(default_factory=dict)
    warm_start: tuple[str, ...] = ()

    def make_strategy(self) -> Strategy:
        """The strategy, fresh."""
        given = {
            "name": self.strategy,
            "population": self.population,
            "options": dict(self.options),
            "warm_start": self.warm_start,
        }
        context = {"strategies": tuple(STRATEGIES)}
        section = StrategySection.model_validate(given, context=context)
        return build_strategy(self.make_task(), section)

    def make_task(self) -> Task:
        """What the strategy is told."""
        limits = Limits(self.evaluator.max_drop, self.evaluator.max_bytes)
        return Task(self.spaces, self.objectives, limits, self.seed, price, cost_tables)

    def make_backend(self, **behaviour: Any) -> SimulatedBackend:
        """Simulated workers of the window's capacity."""
        return SimulatedBackend(self.evaluator, capacity=self.window, **behaviour)

    def make_controller(
        self, ledger: Ledger, backend: SimulatedBackend, strategy: Strategy | None = None
    ) -> Controller:
        """The controller, fresh."""
        return Controller(
            strategy or self.make_strategy(),
            backend,
            ledger,
            Front(self.objectives),
            GatePolicy(self.gate, self.seed, self.evaluator.max_drop),
            self.budget,
            self.window,
            ordered=self.ordered,
            space_size=self.spaces[-1].size,
            reference=REFERENCE,
        )

    def with_budget(self, candidates: int, **limits: Any) -> Setup:
        """The same with another budget."""
        return replace(self, budget=Budget(candidates, **limits))


def run(
    setup: Setup,
    path: Path,
    backend: SimulatedBackend | None = None,
    strategy: Strategy | None = None,
) -> Controller:
    """Search to the end; where the ledger exists already, go on from it."""
    ledger = Ledger.open(path) if path.exists() else Ledger.create(path, {"fingerprints": {}})
    with ledger, backend or setup.make_backend() as workers:
        controller = setup.make_controller(ledger, workers, strategy)
        controller.replay(ledger.replayed)
        controller.run()
    return controller


def events(path: Path, kind: str | None = None) -> list[Event]:
    """Events of a ledger, all or of one kind."""
    found = Ledger.read(path)[1]
    return found if kind is None else [event for event in found if event["event"] == kind]


def digest(path: Path) -> str:
    """What must agree between two runs of one setup."""
    return trace_digest(events(path))


def front_of(controller: Controller) -> list[tuple[str, float, float]]:
    """Members of the front: key, bytes, accuracy."""
    measured = [(m.key, m.measures) for m in controller.front.members]
    return [(key, measures["bytes"], measures["accuracy"]) for key, measures in measured]
