"""The baseline: one choice for the whole network."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from typing_extensions import override

from ...evaluators.evaluation import Evaluation
from ...spaces.candidate import Candidate
from ...spaces.space import Point
from .base import Strategy, Suggestion, Task


class Uniform(Strategy):
    """Every kind of compression alone, then all of them together, with one level per kind.

    First the trained network, then every level of every axis of the network-wide space with all
    else untouched, mildest first; then all combinations in the order of falling bytes. Each is
    suggested once, and judged by the search's own stages. Nothing is learned: it ends when
    everything was suggested.

    Combinations are walked from the trained network downwards, so that only what comes next has
    to be priced: at 2 to 10 ms each (measured on two networks of the zoo) all 576,240 of the
    default levels of all kinds would take a quarter of an hour at least. The order is exact as
    long as no level of an axis takes more bytes than the next higher one.
    """

    def __init__(self, task: Task) -> None:
        self._space = task.spaces[0]
        self._price = task.price
        self._suggested: list[Candidate] = []
        self._left = self._walk()

    @override
    def suggest(self, index: int) -> Suggestion | None:
        while len(self._suggested) <= index:
            candidate = next(self._left, None)
            if candidate is None:
                return None
            self._suggested.append(candidate)
        return Suggestion(self._suggested[index])

    @override
    def update(self, index: int, evaluation: Evaluation) -> None:
        """Nothing is learned."""

    def _walk(self) -> Iterator[Candidate]:
        alone = [self._space.full, *self._alone()]
        yield from map(self._space.decode, alone)
        seen = set(alone)
        for point in self._by_falling_bytes():
            if point not in seen:
                yield self._space.decode(point)

    def _alone(self) -> Iterator[Point]:
        full = self._space.full
        for number in range(len(self._space.axes)):
            for level in reversed(range(full[number])):
                yield (*full[:number], level, *full[number + 1 :])

    def _by_falling_bytes(self) -> Iterator[Point]:
        """All points; of equally large ones, those with the fewest steps from the full one first.

        A heap holds the points one step below those that were already given out.
        """
        full = self._space.full
        heap = [(0.0, 0, full)]
        known = {full}
        while heap:
            _, steps, point = heapq.heappop(heap)
            yield point
            for number, level in enumerate(point):
                below = (*point[:number], level - 1, *point[number + 1 :])
                if level == 0 or below in known:
                    continue
                known.add(below)
                size = self._price(self._space.decode(below))["bytes"]
                heapq.heappush(heap, (-size, steps + 1, below))
