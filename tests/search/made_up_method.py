"""A method driven by hand: a network whose losses are a table, and no controller in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spikefront.evaluators.evaluation import Evaluation, Rejection, Stage, State
from spikefront.search.config_sections import StrategySection
from spikefront.search.front import Objective
from spikefront.search.strategies import (
    STRATEGIES,
    Limits,
    Strategy,
    Suggestion,
    Task,
    build_strategy,
)
from spikefront.spaces import Candidate, Granularity, Site, SiteKind, Space
from spikefront.svtmodels.cost_tables import CostTables

OBJECTIVES = (Objective("accuracy", maximise=True), Objective("bytes"))
GATE_IMAGES, SEARCH_IMAGES = 10, 100
PARENT = 0.9

Tested = list[tuple[Suggestion, Evaluation]]


@dataclass
class Table:
    """A network whose drop is the sum of a table's entries, one per site that is not whole.

    Attributes:
        sites: of the network.
        levels: of the space, by kind.
        losses: by name of the site, then by value.
        bytes: of a candidate.
        macs: of a candidate.
        failing: keys of candidates whose evaluation raises.
        granularities: of the spaces, coarse to fine.
    """

    sites: Sequence[Site]
    levels: Mapping[SiteKind, Sequence[float]]
    losses: Mapping[str, Mapping[int, float]]
    bytes: Callable[[Candidate], int]
    macs: Callable[[Candidate], int] = lambda candidate: 1
    failing: set[str] = field(default_factory=set)
    granularities: Sequence[Granularity] = (
        Granularity.NETWORK,
        Granularity.STAGE,
        Granularity.BLOCK,
    )

    def task(self, limits: Limits) -> Task:
        """What a strategy is told."""
        spaces = [Space.build(self.sites, each, self.levels) for each in self.granularities]
        return Task(spaces, OBJECTIVES, limits, 0, self.price, lambda: CostTables((), ()))

    def strategy(self, name: str, limits: Limits, **options: Any) -> Strategy:
        """A strategy over this network."""
        context = {"strategies": tuple(STRATEGIES)}
        given = {"name": name, "options": options}
        section = StrategySection.model_validate(given, context=context)
        return build_strategy(self.task(limits), section)

    def price(self, candidate: Candidate) -> dict[str, float]:
        """Static measures."""
        size = self.bytes(candidate)
        return {
            "bytes": size,
            "bytes_ratio": size / self.bytes(Candidate()),
            "macs": self.macs(candidate),
        }

    def drop(self, candidate: Candidate) -> float:
        """Accuracy that is lost."""
        chosen = candidate.values(self.sites)
        return sum(self.losses[s.name].get(v, 0.0) for s, v in chosen.items() if v != s.size)

    def evaluate(self, suggestion: Suggestion, limits: Limits) -> Evaluation:
        """As the real evaluator does it: drift is ten times the drop."""
        candidate, checks = suggestion.candidate, suggestion.checks
        assert checks is not None
        if candidate.key in self.failing:
            return Evaluation(candidate, State.FAILED, Stage.STATIC, error="no such luck")
        drop = self.drop(candidate)
        measures = {**self.price(candidate), "drift": 10 * drop}
        images = GATE_IMAGES
        if suggestion.probe:
            return Evaluation(
                candidate, State.PROBED, Stage.DRIFT, measures, image_evaluations=images
            )
        verdict = None
        if checks.max_drift is not None and measures["drift"] > checks.max_drift:
            verdict = Rejection(Stage.DRIFT, measures["drift"], checks.max_drift)
        elif checks.subset and drop > checks.subset_drop:
            verdict = Rejection(Stage.SUBSET, drop, checks.subset_drop)
            images += checks.subset
        if verdict is not None:
            return Evaluation(
                candidate,
                State.REJECTED,
                verdict.stage,
                measures,
                rejection=verdict,
                violation=drop,
                image_evaluations=images,
            )
        measures |= {"drop": drop, "accuracy": PARENT - drop}
        violation = max(drop - (limits.drop or 1.0), 0.0)
        if limits.bytes is not None:
            violation += max(measures["bytes"] / limits.bytes - 1, 0.0)
        state = State.INFEASIBLE if violation > 0 else State.COMPLETE
        return Evaluation(
            candidate,
            state,
            Stage.FULL,
            measures,
            violation=violation,
            image_evaluations=images + SEARCH_IMAGES,
        )

    def drive(self, strategy: Strategy, limits: Limits, most: int = 10_000) -> Tested:
        """Evaluate what a strategy suggests until it has nothing left, or so many."""
        tested: Tested = []
        while len(tested) < most and (suggestion := strategy.suggest(len(tested))) is not None:
            evaluation = self.evaluate(suggestion, limits)
            strategy.update(len(tested), evaluation)
            tested.append((suggestion, evaluation))
        return tested
