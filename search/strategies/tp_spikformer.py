"""TP-Spikformer (arXiv 2603.00527): how many tokens each block processes.

The paper's schedules fall with depth; they are set by hand, some by a grid search that it does not
describe. How tokens are ranked is a question of surgery (``surgery.tokens``).
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from typing_extensions import override

from ...evaluators.evaluation import WHOLE, Evaluation
from ...spaces.axis import Axis
from ...spaces.candidate import Candidate
from ...spaces.errors import BadInput
from ...spaces.site import Site, SiteKind
from ...svtmodels.token_schedules import SCHEDULES, scheduled_at
from .base import Suggestion, Task
from .limited_method import LimitedMethod, require_drop
from .stepwise import Steps

MAX_DROP = 0.015
"""Our choice: the paper names no limit."""

Levels = tuple[int, ...]
"""Number of a level per token axis, in order of depth."""


class TokenMethod(LimitedMethod):
    """Chooses tokens, and makes the MACs that are processed as few as it can.

    Args:
        task: what is searched, and for what.
    """

    @abc.abstractmethod
    def _nominal(self, candidate: Candidate) -> float:
        """Mean retention as it was asked for, before cuts to whole tokens."""

    @override
    def _cost(self, evaluation: Evaluation) -> float:
        return evaluation.measures["macs"]

    @override
    def _facts(self, chosen: Evaluation | None) -> Mapping[str, Any]:
        if chosen is None:
            return {"retention": None, "retention_nominal": None, "macs_ratio": None}
        sites = _token_sites(self._task)
        kept = {site.name: chosen.candidate.value(site) for site in sites}
        return {
            "tokens": kept,
            "retention": sum(kept[site.name] / site.size for site in sites) / len(sites),
            "retention_nominal": self._nominal(chosen.candidate),
            "macs_ratio": self._macs(chosen.candidate) / self._macs(Candidate()),
        }

    def _macs(self, candidate: Candidate) -> float:
        return self._task.price(candidate)["macs"]


class FixedSchedule(TokenMethod):
    """The trained network and one schedule, each on all search images.

    Args:
        task: what is searched, and for what.
        name: of the strategy, for messages.
        schedule: name of a released one (`token_schedules`); its `scheduled_at` says where it fits.
        ratios: else the share of its tokens that each block processes, in order.

    Raises:
        BadInput: the schedule does not fit the network's token sites.
    """

    def __init__(
        self, task: Task, name: str, schedule: object = None, ratios: object = None
    ) -> None:
        super().__init__(task)
        sites = _token_sites(task)
        if schedule is not None and ratios is not None:
            raise BadInput(f"strategy {name!r} takes either schedule or ratios, not both.")
        if schedule is not None:
            self._schedule = scheduled_at(sites, str(schedule))
            self._asked = SCHEDULES[str(schedule)].nominal
        else:
            shares = _shares(ratios, sites)
            values = {s: s.value_at(share) for s, share in zip(sites, shares, strict=True)}
            self._schedule = Candidate.of(values)
            self._asked = sum(shares) / len(shares)

    @override
    def steps(self) -> Steps:
        both = [Suggestion(Candidate(), WHOLE), Suggestion(self._schedule, WHOLE)]
        yield from self._ask("schedule", both)

    @override
    def _choices(self) -> list[Evaluation]:
        # The trained network is only there to compare with.
        return [done for done in self._full() if done.candidate == self._schedule]

    @override
    def _nominal(self, candidate: Candidate) -> float:
        return self._asked


class ScheduleSearch(TokenMethod):
    """Smallest schedule within the accuracy limit, of those that do not rise with depth.

    The family: from all tokens, the last of B blocks loses the most and block b (from 1) b / B of
    that, until it is at its lowest level; then the blocks before it go on, until all are at their
    lowest. Each block has the level nearest to this line that is not above the block before. So
    every schedule of the family processes no more tokens in any block than the one before it.

    1. Trained network and last of the family.
    2. Bisection over the family: the last schedule that passes whose successor does not.
    3. Refinement: one block at a time down by one level, where it stays at or above the block
       behind it; the block whose step saves the most MACs comes first. A step that passes is kept;
       a block whose step does not pass is left as it is. Until no block is left.

    Every schedule is judged on all search images.

    Args:
        task: what is searched, and for what.
        name: of the strategy, for messages.

    Raises:
        BadInput: no limit of accuracy, or no tokens to choose.
    """

    def __init__(self, task: Task, name: str) -> None:
        super().__init__(task)
        require_drop(task, name, MAX_DROP, "the paper names none, our choice")
        self._axes = [axis for axis in task.space.axes if axis.kind is SiteKind.TOKEN]
        if not self._axes:
            raise BadInput(f"strategy {name!r} chooses tokens; give some in space.levels.token.")

    @override
    def steps(self) -> Steps:
        family = schedule_family(self._axes)
        ends = [self._suggestion(family[0]), self._suggestion(family[-1])]
        whole, smallest = yield from self._ask("ends", ends)
        if not self._passes(whole) or self._passes(smallest):
            return
        good, bad = 0, len(family) - 1
        while bad - good > 1:
            middle = (good + bad) // 2
            (done,) = yield from self._ask("bisection", [self._suggestion(family[middle])])
            if self._passes(done):
                good = middle
            else:
                bad = middle
        yield from self._refine(family[good])

    def _refine(self, levels: Levels) -> Steps:
        stuck: set[int] = set()
        while steps := self._steps_down(levels, stuck):
            block = min(
                steps, key=lambda block: (self._macs(self._candidate(steps[block])), -block)
            )
            (done,) = yield from self._ask("refinement", [self._suggestion(steps[block])])
            if self._passes(done):
                levels = steps[block]
            else:
                stuck.add(block)

    def _steps_down(self, levels: Levels, stuck: set[int]) -> dict[int, Levels]:
        """Schedules with one block at its next lower level, by number of the block."""
        steps: dict[int, Levels] = {}
        for block, number in enumerate(levels):
            lowered = (*levels[:block], number - 1, *levels[block + 1 :])
            if block not in stuck and number > 0 and _falls(self._axes, lowered):
                steps[block] = lowered
        return steps

    def _candidate(self, levels: Levels) -> Candidate:
        chosen: dict[Site, int] = {}
        for axis, number in zip(self._axes, levels, strict=True):
            chosen |= axis.assign(number)
        return Candidate.of(chosen)

    def _suggestion(self, levels: Levels) -> Suggestion:
        return Suggestion(self._candidate(levels), WHOLE)

    @override
    def _nominal(self, candidate: Candidate) -> float:
        values = candidate.values(_token_sites(self._task))
        shares = 0.0
        for axis in self._axes:
            number = axis.find(values)
            assert number is not None
            shares += axis.levels[number] * len(axis.sites)
        return shares / sum(len(axis.sites) for axis in self._axes)


def schedule_family(axes: Sequence[Axis]) -> list[Levels]:
    """Schedules that `ScheduleSearch` bisects, from most to fewest tokens.

    Args:
        axes: of tokens, in order of depth.
    """
    lowest = min(axis.levels[0] for axis in axes)
    per_block = max(len(axis.levels) for axis in axes) - 1
    family: dict[Levels, None] = {}
    for number in range(per_block * len(axes) + 1):
        loss = (1 - lowest) * number / per_block
        levels: list[int] = []
        above = 1.0
        for block, axis in enumerate(axes, 1):
            target = max(1 - loss * block / len(axes), lowest)
            levels.append(_nearest(axis, target, above))
            above = axis.levels[levels[-1]]
        family[tuple(levels)] = None
    return list(family)


def _nearest(axis: Axis, target: float, above: float) -> int:
    """Number of the level nearest to a target, of those up to `above`; the lowest if none is."""
    allowed = [n for n, level in enumerate(axis.levels) if level <= above] or [0]
    return min(allowed, key=lambda n: (abs(axis.levels[n] - target), -n))


def _falls(axes: Sequence[Axis], levels: Levels) -> bool:
    """Whether no block processes a larger share than the one before it."""
    shares = [axis.levels[number] for axis, number in zip(axes, levels, strict=True)]
    return all(before >= after for before, after in pairwise(shares))


def _token_sites(task: Task) -> list[Site]:
    return [site for site in task.space.sites if site.kind is SiteKind.TOKEN]


def _shares(ratios: object, sites: Sequence[Site]) -> list[float]:
    """Ratios of the options, one per block.

    Raises:
        BadInput: they are none, or do not fit the network.
    """
    numbers = [r for r in ratios if type(r) in (int, float)] if isinstance(ratios, list) else []
    if len(numbers) != len(sites) or not all(0 < number <= 1 for number in numbers):
        raise BadInput(
            f"strategy.options.ratios is {ratios!r}; give {len(sites)} shares above 0 and up to 1, "
            "one per block of this network."
        )
    return [float(number) for number in numbers]
