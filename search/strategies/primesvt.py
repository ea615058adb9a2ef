"""PrimeSVT (arXiv 2606.03428): robust groups, largest first, each pruned as far as it goes.

The body of the paper could not be read. What it says for sure: layers are sorted by their number
of parameters, targets are chosen by their robustness under several rates, they are pruned one
after the other under an accuracy and a memory constraint. What is second-hand: a benefit score,
accuracy times memory gain. Rates, steps and thresholds are this project's reading.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from typing_extensions import override

from ...evaluators.evaluation import Evaluation
from ...spaces.candidate import Candidate
from ...spaces.errors import unknown_name
from .base import Suggestion, Task
from .limited_method import require_drop, require_number
from .profile import ProfiledMethod
from .pruning_groups import PruningGroup, PruningGroups
from .stepwise import Steps

MAX_DROP = 0.03
"""Accuracy that the paper's network loses before it is fine-tuned (73.3 to 70.3 %)."""

ORDERS = ("size", "benefit")
"""What decides which target group comes first."""

_PROFILE_RATES = tuple(tenths / 10 for tenths in range(1, 10))
_COARSE = 0.5
_LEAST_RATE = 0.1 - 1e-9

Passed = Generator[Sequence[Suggestion], Sequence[Evaluation], bool]


class PrimeSVT(ProfiledMethod):
    """Prioritised compression under two constraints.

    1. Robustness profile. One group at a time at 10, 20, ... 90 %, or the nearest rates that its
       levels have. A group is a target if some rate of at least 10 % costs it no more than
       `robust_drop`. The benefit of a rate is B = (accuracy / the network's) x (bytes saved / the
       network's); a group's is the largest of its rates.
    2. The targets are sorted by size, largest first: the parameters that would leave with the
       whole group; of equal ones the higher benefit first. ``order: benefit`` sorts by benefit
       and then by size.
    3. One pass over them, all earlier ones staying as they are. For each the largest rate that
       keeps the accuracy limit is sought from coarse to fine: 50 %, from there up (or down, where
       50 % is too much) in steps of 10 % as far as the limit is kept (or until it is), then in
       all finer steps that its levels have. The pass stops when the memory limit is met, if there
       is one.

    What the last accepted rates amount to is chosen; if it does not meet the memory limit, the
    outcome says so.

    Args:
        task: what is searched, and for what.
        name: of the strategy.
        order: of `ORDERS`.
        robust_drop: accuracy that a target may lose alone, a fraction.
        sensitivity: as for `ProfiledMethod`.

    Raises:
        BadInput: no limit of accuracy, no channels to choose, an unusable option or table.
    """

    def __init__(
        self,
        task: Task,
        name: str,
        order: str = "size",
        robust_drop: float = 0.01,
        sensitivity: object = None,
    ) -> None:
        require_drop(task, name, MAX_DROP, "PrimeSVT")
        if order not in ORDERS:
            raise unknown_name(f"order of strategy {name!r}", str(order), ORDERS)
        require_number("robust_drop", robust_drop, least=0)
        super().__init__(task, PruningGroups.channels(task.space, name), sensitivity)
        self._order = order
        self._robust_drop = robust_drop
        self._parent = task.price(Candidate())
        self._coarse = {group.name: _coarse_rates(group) for group in self._groups.groups}
        self._targets: list[PruningGroup] = []
        self._accepted: dict[str, float] = {}

    @override
    def steps(self) -> Steps:
        yield from self._ask("baseline", [self._setting({})])
        yield from self._profile((g, self._coarse[g.name]) for g in self._groups.groups)
        targets = [group for group in self._groups.groups if self._robust_rate(group) > 0]
        self._targets = sorted(targets, key=self._priority)
        for group in self._targets:
            if self._small_enough():
                return
            yield from self._prune(group)

    def _prune(self, group: PruningGroup) -> Steps:
        coarse = self._coarse[group.name]
        middle = min(coarse, key=lambda rate: abs(rate - _COARSE))
        best, broken = 0.0, math.inf
        for rate in [rate for rate in coarse if rate >= middle]:
            if not (yield from self._accept(group, rate)):
                broken = rate
                break
            best = rate
        for rate in [rate for rate in reversed(coarse) if best == 0 and rate < middle]:
            if (yield from self._accept(group, rate)):
                best = rate
                break
            broken = rate
        for rate in [rate for rate in group.rates if best < rate < broken]:
            if not (yield from self._accept(group, rate)):
                return

    def _accept(self, group: PruningGroup, rate: float) -> Passed:
        """Prune a group further, on top of all that was accepted, if that keeps the limit."""
        rates = {**self._accepted, group.name: rate}
        (done,) = yield from self._ask("pass", [self._setting(rates)])
        passed = self._passes(done)
        if passed:
            self._accepted = rates
        return passed

    def _small_enough(self) -> bool:
        limit = self._task.limits.bytes
        now = self._task.price(self._groups.candidate(self._accepted))["bytes"]
        return limit is not None and now <= limit

    def _robust_rate(self, group: PruningGroup) -> float:
        """Largest rate of at least 10 % that a group bears alone; 0: none."""
        borne = (r for r in self._coarse[group.name] if self._drop(group, r) <= self._robust_drop)
        return max((rate for rate in borne if rate >= _LEAST_RATE), default=0.0)

    def _priority(self, group: PruningGroup) -> tuple[float, float]:
        size, benefit = -self._size(group), -self._benefit(group)
        return (size, benefit) if self._order == "size" else (benefit, size)

    def _size(self, group: PruningGroup) -> float:
        """Parameters that a whole group stands for, from what its highest rate takes away."""
        rate = group.rates[-1]
        pruned = self._task.price(self._groups.candidate({group.name: rate}))
        return (self._parent["parameters"] - pruned["parameters"]) / group.removed(rate)

    def _benefit(self, group: PruningGroup) -> float:
        """Largest benefit of its rates; one that was not measured has none."""
        found = 0.0
        for rate in self._coarse[group.name]:
            measures = self._cells[group.name, rate].measures
            if "drop" in measures:
                kept = measures["accuracy"] / (measures["accuracy"] + measures["drop"])
                found = max(found, kept * (1 - measures["bytes"] / self._parent["bytes"]))
        return found

    @override
    def _facts(self, chosen: Evaluation | None) -> Mapping[str, Any]:
        return {
            "targets": [
                {
                    "group": group.name,
                    "parameters": round(self._size(group)),
                    "benefit": self._benefit(group),
                    "robust_rate": self._robust_rate(group),
                }
                for group in self._targets
            ],
            "profile": self._profile_record(),
            "rates": self._rates(chosen),
        }


def _coarse_rates(group: PruningGroup) -> tuple[float, ...]:
    """Rates of a group that are nearest to 10, 20, ... 90 %, ascending."""
    nearest = {min(group.rates, key=lambda r: abs(r - wanted)) for wanted in _PROFILE_RATES}
    return tuple(sorted(nearest))
