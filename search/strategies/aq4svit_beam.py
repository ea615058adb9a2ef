"""The beam search of AQ4SViT."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from typing_extensions import override

from ...evaluators.evaluation import PROBE, Evaluation, State
from ...spaces.axis import Axis
from ...spaces.candidate import Candidate
from .aq4svit import Aq4svit, GateOptions, Level
from .base import Suggestion, Task
from .limited_method import Asked, require_number


@dataclass(frozen=True, slots=True)
class BeamOptions(GateOptions):
    """Options of the beam search.

    Attributes:
        width: members of the beam.
    """

    width: int = 4

    def __post_init__(self) -> None:
        # Not by super(): a dataclass with slots is made anew, and super() knows the old one.
        GateOptions.__post_init__(self)
        require_number("width", self.width, least=1, whole=True)


class Aq4svitBeam(Aq4svit):
    """Several candidates at once, from the lowest uniform width that passes.

    A generation: every member with every axis of the level lowered by one width. Those within
    the gate are ranked by bytes, then by drift, and the best `width` go on to the mini-batch and
    to all images; those that pass are the next members. If none of these passes, the next `width`
    in the ranking have their turn. A level ends when no expansion passes.

    Drift is probed only as far down the ranking as it is needed: who takes more bytes cannot come
    before who takes fewer. Without the gate nothing is probed, and among equal bytes the order is
    that of members and axes.

    Args:
        task: what is searched, and for what.
        name: of the strategy, for messages.
        options: of gate and beam.
    """

    def __init__(self, task: Task, name: str, options: BeamOptions) -> None:
        super().__init__(task, name, options)
        self._width = options.width
        self._members: list[Candidate] = []
        self._judged: set[Candidate] = set()

    @override
    def _start(self, uniform: Evaluation) -> None:
        self._members = [uniform.candidate]

    @override
    def _level(self, name: str, axes: Sequence[Axis]) -> Level:
        while passed := (yield from self._generation(name, self._expansions(axes))):
            self._members = [evaluation.candidate for evaluation in passed]

    def _expansions(self, axes: Sequence[Axis]) -> list[Candidate]:
        """Every member with every axis lowered, fewest bytes first, without those judged before."""
        lowered = (self._lowered(member, axis) for member in self._members for axis in axes)
        new = dict.fromkeys(each for each in lowered if each is not None)
        return sorted((each for each in new if each not in self._judged), key=self._bytes)

    def _generation(self, name: str, pool: list[Candidate]) -> Asked:
        """First `width` of the ranking of which any passes: those that do; empty: none does."""
        ready: list[Candidate] = []
        while pool or ready:
            while pool and len(ready) < self._width:
                smallest = _take_smallest(pool, self._width - len(ready), self._bytes)
                ready += yield from self._within_gate(name, smallest)
            batch, ready = ready[: self._width], ready[self._width :]
            self._judged.update(batch)
            done = yield from self._ask(name, [Suggestion(each, self._checks) for each in batch])
            if passed := [evaluation for evaluation in done if self._passes(evaluation)]:
                return passed
        return []

    def _within_gate(
        self, name: str, candidates: Sequence[Candidate]
    ) -> Generator[Sequence[Suggestion], Sequence[Evaluation], list[Candidate]]:
        """Those within the gate, ranked."""
        limit = self._checks.max_drift
        if limit is None:
            return list(candidates)
        probed = yield from self._ask(name, [Suggestion(each, PROBE) for each in candidates])
        within = [e for e in probed if e.state is State.PROBED and e.measures["drift"] <= limit]
        within.sort(key=lambda e: (e.measures["bytes"], e.measures["drift"], e.key))
        ranked = [evaluation.candidate for evaluation in within]
        self._judged.update(each for each in candidates if each not in ranked)
        return ranked


def _take_smallest(
    pool: list[Candidate], count: int, size: Callable[[Candidate], float]
) -> list[Candidate]:
    """Take the first of an ascending pool; who is as small as the last of them comes along."""
    count = min(count, len(pool))
    largest = size(pool[count - 1])
    while count < len(pool) and size(pool[count]) == largest:
        count += 1
    taken, pool[:] = pool[:count], pool[count:]
    return taken
