"""The interface of a strategy."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ...evaluators.evaluation import Checks, Evaluation, Stage
from ...spaces.candidate import Candidate
from ...spaces.space import Space
from ...svtmodels.cost_tables import CostTables
from ..front import Objective


@dataclass(frozen=True, slots=True)
class Limits:
    """What a feasible candidate keeps; None: no limit.

    Attributes:
        drop: accuracy that may be lost, a fraction.
        bytes: of the packed tensors.
    """

    drop: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Task:
    """What a strategy is told of the search that it serves.

    Attributes:
        spaces: the searched axes at all granularities up to the searched one, coarse to fine.
        objectives: what is optimised.
        limits: of a feasible candidate.
        seed: of everything that is random.
        price: static measures of a candidate (`bytes`, `parameters`, `macs`, ...), before anything
            is built; takes some milliseconds.
        tables: bytes and MACs of any number of points of the searched space at once; takes a
            second or so to make.
    """

    spaces: Sequence[Space]
    objectives: Sequence[Objective]
    limits: Limits
    seed: int
    price: Callable[[Candidate], Mapping[str, float]]
    tables: Callable[[], CostTables]

    @property
    def space(self) -> Space:
        """The searched space."""
        return self.spaces[-1]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A candidate, and how it is to be evaluated.

    Attributes:
        candidate: to evaluate.
        checks: in place of the search's own stages and limits; None: these.
    """

    candidate: Candidate
    checks: Checks | None = None

    @property
    def probe(self) -> bool:
        """Whether no search image is asked for."""
        return self.checks is not None and self.checks.until is Stage.DRIFT

    @property
    def record(self) -> dict[str, Any] | None:
        """Checks, JSON-ready."""
        return None if self.checks is None else self.checks.to_dict()


class Strategy(abc.ABC):
    """Suggests candidates and learns from what became of them.

    Life cycle: the controller numbers suggestions 0, 1, 2, … and commits their evaluations in
    the same order. It asks for suggestion k once everything up to k - W is committed (W: the
    window), so `suggest(k)` may depend on the seed, on k and on the evaluations that `update` was
    given, and on nothing else. Asked twice between two updates, it answers the same. A resumed
    search replays the same calls and so arrives at the same state.
    """

    @abc.abstractmethod
    def suggest(self, index: int) -> Suggestion | None:
        """Suggestion number `index`; numbers are asked in ascending order.

        None: nothing before another evaluation is known. If none is on its way, that is the end.
        """

    @abc.abstractmethod
    def update(self, index: int, evaluation: Evaluation) -> None:
        """Learn from the evaluation of suggestion number `index`.

        Rejected and infeasible ones are among them, with their `violation`.
        """

    def learn(self, evaluation: Evaluation) -> None:  # noqa: B027 (most have nothing to do)
        """Take an evaluation in that this strategy did not suggest, as those of a warm start.

        A strategy that learns from its own suggestions alone lets it be.
        """

    def outcome(self) -> Mapping[str, Any] | None:
        """What a method with a result of its own came to, JSON-ready; None: the front is all.

        ``chosen`` is the key of the model that it picks (None: none), ``met`` whether that one
        keeps all limits, ``finished`` whether the method came to its end within the budget.
        """
        return None

    def table(self) -> pa.Table | None:
        """Sensitivity matrix that the strategy has measured so far; None: it measures none.

        When a search ends it is written to the run's folder, from where other strategies can
        read it (`sensitivity_table`).
        """
        return None
