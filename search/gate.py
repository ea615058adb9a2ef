"""What the controller learns from committed evaluations and sends along: the gate."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..evaluators.evaluation import Evaluation, Gate, Stage, State
from ..evaluators.image_order import ImageOrder
from .config_sections import GateSection
from .front import Front
from .image_order import OrderLearner

SLACK = 1.5
"""Factor on the drift of what proved worth having (methods of AQ4SViT: 1.5 times the drift of the
lowest bit-width that passes). How much it gains in a search has not been measured."""

_RIVALS = 64
"""Front members that travel with a candidate, at most."""


class GatePolicy:
    """Builds the gate that is sent along with candidates.

    With ``max_drift: auto`` the first `warmup` candidates pass. Then the limit is `SLACK` times a
    quantile of the drifts of all candidates that turned out worth having: complete ones where an
    accuracy limit is set, else those that entered the front. The quantile is the conformal one:
    of candidates like those seen so far, it would reject a worthy one with a probability of at
    most `false_reject_rate`, which needs 1 / false_reject_rate - 1 worthy ones before there is
    any limit at all (19 at 5 %). The slack (AQ4SViT's calibration) is for those that are not like
    them: a search moves on to smaller networks, whose drift is larger at equal accuracy. Audited
    candidates keep feeding the limit from beyond it, so that one too low can rise again.

    The order of the search images is learned by `OrderLearner`.
    """

    def __init__(self, settings: GateSection, seed: int, has_accuracy_limit: bool) -> None:
        self._settings = settings
        self._seed = seed
        self._has_accuracy_limit = has_accuracy_limit
        self._order = OrderLearner(seed) if settings.learn_order else None
        self._worthy: list[float] = []
        self._commits = 0
        self._gate = Gate(max_drift=self._max_drift())

    @property
    def current(self) -> Gate:
        """Gate built from all commits so far."""
        return self._gate

    def audits(self, key: str) -> bool:
        """Whether a candidate is evaluated in full whatever the gate says.

        Decided at dispatch, from seed and content key alone.
        """
        if not self._settings.enabled:
            return False
        digest = hashlib.sha256(f"{self._seed}:{key}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self._settings.audit_share * 2**64

    def update(self, evaluation: Evaluation, front: Front, entered: bool) -> None:
        """Take a committed evaluation into account.

        Args:
            evaluation: just committed.
            front: after the commit.
            entered: whether the evaluation is on it.
        """
        self._commits += 1
        worthy = evaluation.feasible if self._has_accuracy_limit else entered
        if worthy and "drift" in evaluation.measures:
            self._worthy.append(evaluation.measures["drift"])
        if self._order is not None:
            self._order.update(evaluation)
        self._gate = Gate(self._commits, self._max_drift(), self._rivals(front), self._sent())

    def _sent(self) -> ImageOrder:
        return ImageOrder() if self._order is None else self._order.current

    def _max_drift(self) -> float | None:
        if not self._settings.enabled:
            return None
        if self._settings.max_drift != "auto":
            return float(self._settings.max_drift)
        if self._commits < self._settings.warmup:
            return None
        rank = math.ceil((1 - self._settings.false_reject_rate) * (len(self._worthy) + 1))
        if rank > len(self._worthy):
            return None
        return SLACK * sorted(self._worthy)[rank - 1]

    def _rivals(self, front: Front) -> tuple[tuple[int, float], ...]:
        if self._has_accuracy_limit:
            return ()
        members = front.members
        step = max(1, math.ceil(len(members) / _RIVALS))
        return tuple((int(m.measures["bytes"]), m.measures["accuracy"]) for m in members[::step])


@dataclass(frozen=True, slots=True)
class GateAudit:
    """How the drift gate judged the candidates that were evaluated in full whatever it said.

    Attributes:
        audited: number of audited candidates that it judged.
        rejected: how many of them it would have rejected.
        precision: share of those that were not worth having; None without any.
        recall: share of what was not worth having that it would have rejected; None without any.
        rank_correlation: Spearman's, drift against accuracy over all fully evaluated candidates.
    """

    audited: int
    rejected: int
    precision: float | None
    recall: float | None
    rank_correlation: float | None


def audit(evaluations: Sequence[Evaluation]) -> GateAudit:
    """Audit of a search's evaluations; worth having: complete, so within all constraints."""
    judged = [e for e in evaluations if e.audited and e.stage is Stage.FULL]
    rejected = [e for e in judged if _by_drift(e)]
    bad = [e for e in judged if e.state is not State.COMPLETE]
    hits = sum(e.state is not State.COMPLETE for e in rejected)
    full = [e for e in evaluations if e.stage is Stage.FULL and "drift" in e.measures]
    return GateAudit(
        audited=len(judged),
        rejected=len(rejected),
        precision=hits / len(rejected) if rejected else None,
        recall=hits / len(bad) if bad else None,
        rank_correlation=_spearman(
            [e.measures["drift"] for e in full], [e.measures["accuracy"] for e in full]
        ),
    )


def _by_drift(evaluation: Evaluation) -> bool:
    return evaluation.rejection is not None and evaluation.rejection.stage is Stage.DRIFT


def _spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    a, b = _ranks(first), _ranks(second)
    mean = (len(a) - 1) / 2
    covariance = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    spread = math.sqrt(sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b))
    return covariance / spread


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 0; ties share their mean rank."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in order[start : end + 1]:
            ranks[place] = (start + end) / 2
        start = end + 1
    return ranks
