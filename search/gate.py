"""What the controller learns from committed evaluations and sends along: the gate."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..evaluators.drop_model import DropModel
from ..evaluators.evaluation import Evaluation, Gate, Stage, State
from ..evaluators.image_order import ImageOrder
from .config_sections import GateSection
from .drop_fit import SIGNALS, DropSample, cross_fitted, fit_line
from .front import Front
from .image_order import OrderLearner
from .rank_correlation import rank_correlation

SLACK = 1.5
"""Factor on the drift of what proved worth having (methods of AQ4SViT: 1.5 times the drift of the
lowest bit-width that passes). How much it gains in a search has not been measured."""

_RIVALS = 64
"""Front members that travel with a candidate, at most."""
_FITTED = 400
"""Evaluations that the model is fitted to: the last ones, whose like come next."""
_FOLDS = 5
_GROWTH = 1.05
"""The model is fitted anew once there are so many times as many samples: a fit takes some ten
milliseconds, a dispatch is to take less."""


class GatePolicy:
    """Builds the gate that is sent along with candidates.

    The first `warmup` candidates pass. Then, by ``gate.by``:

    ``model``: a line through the signals of the gate's images and the drift of every layer
    (`drop_fit`), fitted to the drops measured so far, predicts a candidate's drop; it is rejected
    where that exceeds the allowed drop by more than a margin. The margin comes from the gate's own
    errors: the conformal quantile of what was predicted, by lines fitted without them, for
    candidates that turned out worth having: complete ones where an accuracy limit is set, else
    those that entered the front. Of candidates like these it rejects a share of at most
    `false_reject_rate`. Audited ones that the gate would have rejected stand for all those that
    were not audited, and weigh so much more.

    ``drift``, as published: with ``max_drift: auto`` the limit is `SLACK` times the same quantile,
    with the same weights, of the drifts of what proved worth having. The slack (AQ4SViT's
    calibration) is for those that are not like them: a search moves on to smaller networks, whose
    drift is larger at equal accuracy.

    Either needs 1 / false_reject_rate - 1 worthy ones before there is any limit at all (19 at
    5 %). The order of the search images is learned by `OrderLearner`.

    Attributes:
        limited_since: version of the first gate that could reject anything; None: none yet.
    """

    def __init__(self, settings: GateSection, seed: int, max_drop: float | None) -> None:
        self._settings = settings
        self._seed = seed
        self._max_drop = max_drop
        self._order = OrderLearner(seed) if settings.learn_order else None
        self._worthy: list[tuple[float, float]] = []
        self._samples: list[_Judged] = []
        self._refit_at = 0
        self._commits = 0
        self._gate = Gate(max_drift=self._max_drift())
        self.limited_since = None if self._gate.max_drift is None else 0

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
        worthy = evaluation.feasible if self._max_drop is not None else entered
        self._note(evaluation, worthy)
        if self._order is not None:
            self._order.update(evaluation)
        self._gate = Gate(
            self._commits, self._max_drift(), self._model(), self._rivals(front), self._sent()
        )
        limited = self._gate.max_drift is not None or self._gate.model is not None
        if limited and self.limited_since is None:
            self.limited_since = self._commits

    def _note(self, evaluation: Evaluation, worthy: bool) -> None:
        measures, weight = evaluation.measures, self._weight(evaluation)
        if worthy and "drift" in measures:
            self._worthy.append((measures["drift"], weight))
        if "drop" not in measures or any(name not in measures for name in SIGNALS):
            return
        sample = DropSample(measures, evaluation.layers, measures["drop"], measures["n_search"])
        self._samples.append(_Judged(sample, worthy, weight))

    def _weight(self, evaluation: Evaluation) -> float:
        """How many candidates it stands for: those that the gate rejected are known by audits."""
        lost = evaluation.audited and _by_drift(evaluation)
        return 1 / self._settings.audit_share if lost else 1.0

    def _sent(self) -> ImageOrder:
        return ImageOrder() if self._order is None else self._order.current

    def _model(self) -> DropModel | None:
        settings = self._settings
        if not settings.enabled or settings.by != "model" or self._commits < settings.warmup:
            return None
        if len(self._samples) < self._refit_at:
            return self._gate.model
        self._refit_at = math.ceil(_GROWTH * len(self._samples))
        judged = self._samples[-_FITTED:]
        worthy = [number for number, sample in enumerate(judged) if sample.worthy]
        rate = settings.false_reject_rate
        if len(judged) < 2 * _FOLDS or len(worthy) < 1 / rate - 1:
            return None
        samples = [each.sample for each in judged]
        predictions = cross_fitted(samples, _FOLDS)
        excess = [
            (float(predictions[n]) - self._allowed(samples[n]), judged[n].weight) for n in worthy
        ]
        margin = _weighted_quantile(excess, rate)
        if margin is None:
            return None
        return replace(fit_line(samples), margin=max(margin, 0.0))

    def _allowed(self, sample: DropSample) -> float:
        """Drop that a worthy candidate could have had.

        Without a limit that is not known afterwards; its own was allowed, which errs on the side
        of letting pass.
        """
        return sample.drop if self._max_drop is None else self._max_drop

    def _max_drift(self) -> float | None:
        if not self._settings.enabled or self._settings.by != "drift":
            return None
        if self._settings.max_drift != "auto":
            return float(self._settings.max_drift)
        if self._commits < self._settings.warmup:
            return None
        limit = _weighted_quantile(self._worthy, self._settings.false_reject_rate)
        return None if limit is None else SLACK * limit

    def _rivals(self, front: Front) -> tuple[tuple[int, float], ...]:
        if self._max_drop is not None:
            return ()
        members = front.members
        step = max(1, math.ceil(len(members) / _RIVALS))
        return tuple((int(m.measures["bytes"]), m.measures["accuracy"]) for m in members[::step])


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the model is fitted to, and what it says of the gate's errors."""

    sample: DropSample
    worthy: bool
    weight: float


def _weighted_quantile(values: Sequence[tuple[float, float]], rate: float) -> float | None:
    """Conformal quantile of (value, weight): the next one exceeds it with probability `rate`.

    None where that takes more values; the next one counts as one of weight 1 (Tibshirani et al.,
    arXiv 1904.06019).
    """
    needed = (1 - rate) * (sum(weight for _, weight in values) + 1)
    reached = 0.0
    for value, weight in sorted(values):
        reached += weight
        if reached >= needed - 1e-9:
            return value
    return None


@dataclass(frozen=True, slots=True)
class GateAudit:
    """How the gate judged the candidates that were evaluated in full whatever it said.

    Attributes:
        audited: number of audited candidates that it judged.
        rejected: how many of them it would have rejected.
        precision: share of those that were not worth having; None without any.
        recall: share of what was not worth having that it would have rejected; None without any.
        rank_correlation: Spearman's, drift against accuracy over all fully evaluated candidates.
        rank_correlation_kl: the same of the divergence of predictions.
    """

    audited: int
    rejected: int
    precision: float | None
    recall: float | None
    rank_correlation: float | None
    rank_correlation_kl: float | None


def audit(evaluations: Sequence[Evaluation], limited_since: int | None) -> GateAudit:
    """Audit of a search's evaluations; worth having: complete, so within all constraints.

    Args:
        evaluations: of the whole search.
        limited_since: version of the first gate that could reject (`GatePolicy.limited_since`).
    """
    judged = [
        e
        for e in evaluations
        if e.audited and e.stage is Stage.FULL and e.gate_version >= (limited_since or 0)
    ]
    if limited_since is None:
        judged = []
    rejected = [e for e in judged if _by_drift(e)]
    bad = [e for e in judged if e.state is not State.COMPLETE]
    hits = sum(e.state is not State.COMPLETE for e in rejected)
    full = [e for e in evaluations if e.stage is Stage.FULL]
    return GateAudit(
        audited=len(judged),
        rejected=len(rejected),
        precision=hits / len(rejected) if rejected else None,
        recall=hits / len(bad) if bad else None,
        rank_correlation=_against_accuracy(full, "drift"),
        rank_correlation_kl=_against_accuracy(full, "kl"),
    )


def _against_accuracy(evaluations: Sequence[Evaluation], name: str) -> float | None:
    known = [e.measures for e in evaluations if name in e.measures]
    return rank_correlation([m[name] for m in known], [m["accuracy"] for m in known])


def _by_drift(evaluation: Evaluation) -> bool:
    return evaluation.rejection is not None and evaluation.rejection.stage is Stage.DRIFT
