"""A made-up network whose groups are known to bear so much pruning and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from simulated_search import OBJECTIVES

from spikefront.evaluators.evaluation import Checks, Evaluation, Request, Stage, State
from spikefront.search.strategies import Limits, Strategy, Suggestion, Task
from spikefront.spaces import Candidate, Granularity, Site, SiteKind, Space
from spikefront.svtmodels.cost_tables import CostTables

ACCURACY = 0.9
FIXED_BYTES = 1000
RATES = (0.1, 0.2, 0.3, 0.4, 0.5)


def channel(name: str, block: str, size: int = 40, unit: int = 1) -> Site:
    """A channel site of a stage that all blocks share."""
    return Site(f"{block}.{name}", SiteKind.CHANNEL, size, "encoder", block, unit)


def spaces(
    sites: Sequence[Site],
    levels: Mapping[SiteKind, Sequence[float]],
    granularity: Granularity = Granularity.LAYER,
) -> list[Space]:
    """Spaces up to a granularity."""
    order = list(Granularity)
    chosen = order[: order.index(granularity) + 1]
    return [Space.build(sites, each, levels) for each in chosen]


def keep(rates: Sequence[float]) -> list[float]:
    """Keep ratios of pruning rates."""
    return [1 - rate for rate in rates]


@dataclass
class Network:
    """Drops by the share that is missing at each site; they add up.

    Attributes:
        spaces: coarse to fine.
        loss: accuracy that a site costs, as a function of the share that is missing there; sites
            that are not named cost nothing.
        weight: bytes (and parameters) of a site's channel; 10 where nothing is said.
        max_drop: of the search.
        max_bytes: of the search.
        failing: keys of candidates that cannot be built.
        asked: suggestions so far, in order.
    """

    spaces: Sequence[Space]
    loss: Mapping[str, Callable[[float], float]] = field(default_factory=dict)
    weight: Mapping[str, int] = field(default_factory=dict)
    max_drop: float | None = 0.03
    max_bytes: int | None = None
    failing: frozenset[str] = frozenset()
    asked: list[Suggestion] = field(default_factory=list)

    @property
    def task(self) -> Task:
        """The search over it."""
        limits = Limits(self.max_drop, self.max_bytes)
        return Task(self.spaces, OBJECTIVES, limits, 0, self.price, _no_tables)

    def price(self, candidate: Candidate) -> dict[str, float]:
        """Bytes that are linear in what stays."""
        values = candidate.values(self.spaces[0].sites)
        size = sum(self.weight.get(s.name, 10) * value for s, value in values.items())
        full = sum(self.weight.get(s.name, 10) * s.size for s in values)
        ratio = (FIXED_BYTES + size) / (FIXED_BYTES + full)
        size += FIXED_BYTES
        return {"bytes": size, "bytes_ratio": ratio, "parameters": size, "macs": 5 * size}

    def drop(self, candidate: Candidate) -> float:
        """Accuracy that a candidate loses."""
        values = candidate.values(self.spaces[0].sites)
        losses = self.loss
        return sum(losses[s.name](1 - v / s.size) for s, v in values.items() if s.name in losses)

    def __call__(self, request: Request) -> Evaluation:
        """Evaluate what a strategy asks for; the checks are those of published methods."""
        candidate, checks = request.candidate, request.checks or Checks()
        if candidate.key in self.failing:
            return Evaluation(candidate, State.FAILED, Stage.STATIC, error="cannot be built")
        measures = self.price(candidate) | {"drift": 2 * self.drop(candidate)}
        if checks.until is Stage.DRIFT:
            return Evaluation(candidate, State.PROBED, Stage.DRIFT, measures | {"synops": 7.0})
        drop = self.drop(candidate)
        measures |= {"accuracy": ACCURACY - drop, "drop": drop, "n_search": 200}
        violation = max(drop - self.max_drop, 0.0) if self.max_drop is not None else 0.0
        if self.max_bytes is not None:
            violation += max(measures["bytes"] / self.max_bytes - 1, 0.0)
        state = State.INFEASIBLE if violation else State.COMPLETE
        return Evaluation(candidate, state, Stage.FULL, measures, violation=violation)

    def play(self, strategy: Strategy, most: int = 2000) -> list[Candidate]:
        """Play a strategy to its end, or up to some evaluations; what it asked for, in order."""
        return [suggestion.candidate for suggestion in self._play(strategy, most)]

    def _play(self, strategy: Strategy, most: int) -> Iterator[Suggestion]:
        for index in range(most):
            suggestion = strategy.suggest(index)
            if suggestion is None:
                return
            self.asked.append(suggestion)
            request = Request(suggestion.candidate, checks=suggestion.checks)
            strategy.update(index, self(request))
            yield suggestion


def _no_tables() -> CostTables:
    raise AssertionError("these methods price one candidate at a time")


def of(space: Space, rates: Mapping[str, float]) -> Candidate:
    """Candidate with these shares missing, by site name."""
    named = {site.name: site for site in space.sites}
    return Candidate.of({named[n]: round(named[n].size * (1 - r)) for n, r in rates.items()})
