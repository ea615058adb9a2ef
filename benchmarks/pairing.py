"""Paired timings: two ways to do the same, in turn, in one process.

What else runs on the machine slows both of a pair alike, so the ratio of a pair is steadier than
either time, and the median of the ratios does not mind a few disturbed pairs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pairs:
    """Seconds of both sides, pair by pair.

    Attributes:
        first: seconds of the first side.
        second: seconds of the second side, in the same pairs.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times faster the first side was, per pair."""
        return tuple(b / a for a, b in zip(self.first, self.second, strict=True))

    @property
    def ratio(self) -> float:
        """Median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def ratio_quartiles(self) -> tuple[float, float]:
        """Lower and upper quartile of the ratios."""
        low, _, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return low, high


def time_pairs(first: Callable[[], object], second: Callable[[], object], pairs: int) -> Pairs:
    """Time both sides in turn, after one run of each that does not count.

    Which side comes first alternates from pair to pair.

    Args:
        first: one side.
        second: the other.
        pairs: number of pairs, at least 2.
    """
    first()
    second()
    times: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            times[side].append(seconds((first, second)[side]))
    return Pairs(tuple(times[0]), tuple(times[1]))


def time_alone(run: Callable[[], object], repeats: int) -> tuple[float, ...]:
    """Seconds of each repeat, after one run that does not count."""
    run()
    return tuple(seconds(run) for _ in range(repeats))


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one run."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
