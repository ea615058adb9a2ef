"""What goes into an evaluation and what comes out of it: plain numbers, no tensors."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..spaces.candidate import Candidate
from ..spaces.errors import BadInput
from .drop_model import DropModel
from .image_order import ImageOrder
from .paired_answers import PairedAnswers


class State(enum.StrEnum):
    """How an evaluation ended. These are never mixed up."""

    COMPLETE = "complete"
    """Measured in full and within all constraints."""
    REJECTED = "rejected"
    """A stage ended it early; nothing is known about the stages behind."""
    INFEASIBLE = "infeasible"
    """Known to violate a constraint (static size, or accuracy measured in full)."""
    FAILED = "failed"
    """The evaluation raised; the traceback is kept."""
    LOST = "lost"
    """The worker died and no attempt was left."""
    QUARANTINED = "quarantined"
    """It took down several workers; not tried again."""
    PROBED = "probed"
    """Measured up to the stage that was asked for; nothing judged it."""


class Stage(enum.StrEnum):
    """Steps of an evaluation, cheap to dear."""

    STATIC = "static"
    DRIFT = "drift"
    SUBSET = "subset"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Gate:
    """A versioned value, built by the controller from commits, sent with each candidate.

    Attributes:
        version: number of commits that it was built from.
        max_drift: mean membrane drift above which a candidate is rejected; None: no limit.
        model: of the drop; a candidate whose prediction exceeds the allowed drop by more than
            its margin is rejected; None: none yet.
        rivals: (bytes, accuracy) of committed front members, ascending in bytes. Where no
            accuracy limit is set, a candidate that is surely less accurate than a rival of at
            most its bytes is rejected.
        order: which search images come early.
    """

    version: int = 0
    max_drift: float | None = None
    model: DropModel | None = None
    rivals: tuple[tuple[int, float], ...] = ()
    order: ImageOrder = field(default_factory=ImageOrder)


@dataclass(frozen=True, slots=True)
class Checks:
    """What a strategy wants one evaluation to go through, in place of the search's own stages.

    Nothing else ends it: neither its size, nor the gate, nor the sequential test. Published
    methods say here what their papers say.

    Attributes:
        until: last stage; DRIFT: a probe, which runs no search image and is judged by nothing.
        max_drift: mean drift above which it is rejected; None: none is too much.
        subset: search images, the first ones, that are asked before all others (AQ4SViT's
            mini-batch); 0: none.
        subset_drop: drop on these above which it is rejected.

    Raises:
        BadInput: another last stage, or a subset below 0.
    """

    until: Stage = Stage.FULL
    max_drift: float | None = None
    subset: int = 0
    subset_drop: float = 0.0

    def __post_init__(self) -> None:
        if self.until not in (Stage.DRIFT, Stage.FULL):
            raise BadInput(f"checks end at drift (a probe) or full; got {self.until.value}.")
        if self.subset < 0:
            raise BadInput(f"checks.subset is a number of images from 0 up; got {self.subset}.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


PROBE = Checks(until=Stage.DRIFT)
"""Signals of the gate's images alone."""

WHOLE = Checks()
"""All search images, whatever comes out on the way."""


@dataclass(frozen=True, slots=True)
class Request:
    """One candidate on its way to an evaluator: a few hundred bytes.

    An audited candidate is evaluated in full whatever the gate says. `test` asks for the one
    evaluation of a front member on the test split, without any gate. `checks`, where they are
    given, stand in place of the gate and of all limits.
    """

    candidate: Candidate
    gate: Gate = Gate()
    audited: bool = False
    test: bool = False
    checks: Checks | None = None

    @property
    def is_probe(self) -> bool:
        """Whether no search image is asked for."""
        return self.checks is not None and self.checks.until is Stage.DRIFT


@dataclass(frozen=True, slots=True)
class Rejection:
    """Which stage said no, and why."""

    stage: Stage
    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came out.

    Attributes:
        candidate: the candidate.
        state: how it ended.
        stage: the last stage that ran.
        measures: ``bytes, bytes_ratio, parameters, macs, state_bytes`` (of the membranes of one
            image, at run time) after static. After drift, of the gate's images: ``drift`` of
            membranes, the mean over all neuron layers that were compared, and ``drift_last`` of
            the last of these to run; ``flips`` and ``flips_last``, likewise the share of spikes
            that are others than the trained network's (of integer neurons: of another level);
            ``kl``, the mean KL divergence of its answers from the trained network's
            (KL(trained || candidate), nats); ``disagreement``, the share of images whose most
            likely class is another one. A gate that is sure before the last layer ran leaves
            ``drift`` and ``flips`` alone, as lower bounds: layers that did not run count as 0.
            Of a probe, ``synops, energy_mj, energy_literature_mj`` (per image of the gate's).
            ``accuracy`` (search split, fraction), ``drop`` (parent's accuracy minus its own) and
            ``n_search`` (images) after full: plain means over all search images, as is
            ``cross_entropy`` (of its answers and the labels, nats). Rejected by
            subset: ``n_search`` up to the image that decided, and weighted estimates from these
            of what the other two are on all search images (`DropTest.estimate`), no plain means,
            as images on which candidates differ come early; rejected by the subset of `Checks`,
            plain means over that subset;
            ``synops, energy_mj, energy_literature_mj`` (per image) after full. On the test split:
            ``accuracy_test, n_test, drop_test, drop_low, drop_high`` (95 % interval).
        layers: drift of every neuron layer that was compared, by its path, after drift.
        rejection: the verdict of the gate; an audited evaluation may carry one and be complete.
            Its value is that of the lower bounds where the gate was sure early.
        violation: sum of constraint violations, 0 where none is known; samplers learn from it.
        audited: whether the gate was told to let it pass.
        gate_version: `Gate.version` that it was judged by.
        image_evaluations: forward passes of one image that it took; those of the gate's images
            count whole even if they ended early.
        answers: search images on which it and the trained network differ, up to the one that
            decided; None where it got to none.
        error: traceback of a FAILED, LOST or QUARANTINED one.
        timing: seconds per stage and worker name; after full, ``latency_ms``, per search image
            and without preprocessing, less where others left something of the same images.
            Measured, no part of the identity.
    """

    candidate: Candidate
    state: State
    stage: Stage
    measures: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, float] = field(default_factory=dict)
    rejection: Rejection | None = None
    violation: float = 0.0
    audited: bool = False
    gate_version: int = 0
    image_evaluations: int = 0
    answers: PairedAnswers | None = None
    error: str | None = None
    timing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Content key of the candidate."""
        return self.candidate.key

    @property
    def feasible(self) -> bool:
        """Whether it may enter the front."""
        return self.state is State.COMPLETE

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; `from_dict` gives an equal evaluation back."""
        rejection = self.rejection
        return {
            "key": self.key,
            "candidate": self.candidate.to_dict(),
            "state": self.state.value,
            "stage": self.stage.value,
            "measures": dict(self.measures),
            "layers": dict(self.layers),
            "rejection": None
            if rejection is None
            else [rejection.stage.value, rejection.value, rejection.threshold],
            "violation": self.violation,
            "audited": self.audited,
            "gate_version": self.gate_version,
            "image_evaluations": self.image_evaluations,
            "answers": None if self.answers is None else self.answers.to_dict(),
            "error": self.error,
            "timing": dict(self.timing),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        """Evaluation from `to_dict`; the candidate is taken as it stands (our own record)."""
        rejection, answers = data["rejection"], data["answers"]
        return cls(
            candidate=Candidate.from_record(data["candidate"]),
            state=State(data["state"]),
            stage=Stage(data["stage"]),
            measures=dict(data["measures"]),
            layers=dict(data["layers"]),
            rejection=None
            if rejection is None
            else Rejection(Stage(rejection[0]), float(rejection[1]), float(rejection[2])),
            violation=float(data["violation"]),
            audited=bool(data["audited"]),
            gate_version=int(data["gate_version"]),
            image_evaluations=int(data["image_evaluations"]),
            answers=None if answers is None else PairedAnswers.from_dict(answers),
            error=data["error"],
            timing=dict(data["timing"]),
        )
