"""The interface of a strategy."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from ...evaluators.evaluation import Evaluation
from ...spaces.candidate import Candidate


class Strategy(abc.ABC):
    """Suggests candidates and learns from what became of them.

    Life cycle: the controller numbers suggestions 0, 1, 2, … and commits their evaluations in
    the same order. It asks for suggestion k once everything up to k - W is committed (W: the
    window), so `suggest(k)` may depend on the seed, on k and on the evaluations that `update` was
    given, and on nothing else. Asked twice between two updates, it answers the same. A resumed
    search replays the same calls and so arrives at the same state.
    """

    @abc.abstractmethod
    def suggest(self, index: int) -> Candidate:
        """Suggestion number `index`; numbers are asked in ascending order."""

    @abc.abstractmethod
    def update(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from the evaluations committed since the last call, in order of suggestion.

        Rejected and infeasible ones are among them, with their `violation`.
        """
