"""AQ4SViT (arXiv 2606.15523): bit-widths from the whole network down to blocks, behind a gate.

The body of the paper could not be read. What it says for sure: candidate settings are tested under
an accuracy limit (1.5 points), membrane drift discards bad ones cheaply, and there are a greedy
and a beam search. What is second-hand: network, then stages, then blocks; a mini-batch before all
images. The rest is this project's reading.
"""

from __future__ import annotations

import abc
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from ...evaluators.evaluation import WHOLE, Checks, Evaluation, Stage, State
from ...spaces.axis import Axis
from ...spaces.candidate import Candidate
from ...spaces.errors import BadInput
from ...spaces.site import SiteKind
from ...spaces.space import Granularity, Space
from ..rank_correlation import rank_correlation
from .base import Suggestion, Task
from .limited_method import LimitedMethod, require_drop, require_flag, require_number

MAX_DROP = 0.015
"""Accuracy that the paper's results lose at most."""

QSVIT_KEPT = 0.7725
"""Share of float32 that the model of QSViT (arXiv 2504.00948) keeps. The paper does not say in the
part that could be read whether its savings are relative to float32 or to this one."""

Level = Generator[Sequence[Suggestion], Sequence[Evaluation], None]


@dataclass(frozen=True, slots=True)
class GateOptions:
    """Options of both searches.

    Attributes:
        gate: whether drift rejects candidates.
        mini_batch: whether some images are asked before all others.
        slack: factor on the drift of the lowest uniform width that passes.
        subset: images of the mini-batch.
        margin: by how much more than the limit may be lost on these.
    """

    gate: bool = True
    mini_batch: bool = True
    slack: float = 1.5
    subset: int = 512
    margin: float = 0.01

    def __post_init__(self) -> None:
        require_flag("gate", self.gate)
        require_flag("mini_batch", self.mini_batch)
        require_number("slack", self.slack, least=0, above=True)
        require_number("subset", self.subset, least=1, whole=True)
        require_number("margin", self.margin, least=0)


class Aq4svit(LimitedMethod):
    """What the two searches share: calibration of the gate, and the levels.

    Calibration: one width for all weights, every level from high bits to low, each on all search
    images. Where the lowest width that keeps the accuracy limit has drift d, a candidate is
    rejected from then on if its drift exceeds `slack` d, then if it loses more than the limit and
    `margin` on the first `subset` images; only then are all images asked. If no width but float32
    keeps the limit there is no drift to go by, and no gate.

    From that width on, the spaces finer than the network are gone through from coarse to fine.
    An axis that ties the same weights as an axis of a coarser space (a stage of one block) had its
    turn there.

    Args:
        task: what is searched, and for what.
        name: of the strategy, for messages.
        options: of the gate.

    Raises:
        BadInput: no limit of accuracy, or no bit-widths to choose.
    """

    def __init__(self, task: Task, name: str, options: GateOptions) -> None:
        super().__init__(task)
        self._limit = require_drop(task, name, MAX_DROP, "AQ4SViT")
        self._options = options
        self._checks = WHOLE
        self._sizes: dict[Candidate, float] = {}
        self._sites = [s for s in task.space.sites if s.kind is SiteKind.WEIGHT]
        if not _weight_axes(task.space):
            raise BadInput(
                f"strategy {name!r} chooses bit-widths; give some in space.levels.weight."
            )

    @abc.abstractmethod
    def _level(self, name: str, axes: Sequence[Axis]) -> Level:
        """Search over the axes of one space; `name` is its granularity."""

    @abc.abstractmethod
    def _start(self, uniform: Evaluation) -> None:
        """Begin at the lowest uniform width that passes."""

    @override
    def steps(self) -> Level:
        uniform = yield from self._calibrate()
        if uniform is None:
            return
        self._start(uniform)
        tied = {axis.sites for axis in _weight_axes(self._task.spaces[0])}
        for space in self._finer:
            axes = [axis for axis in _weight_axes(space) if axis.sites not in tied]
            yield from self._level(space.granularity.value, axes)
            tied |= {axis.sites for axis in axes}

    @property
    def _finer(self) -> Sequence[Space]:
        return [s for s in self._task.spaces if s.granularity is not Granularity.NETWORK]

    def _calibrate(
        self,
    ) -> Generator[Sequence[Suggestion], Sequence[Evaluation], Evaluation | None]:
        """Lowest uniform width that passes; None: not even the trained network was measured."""
        axis = _weight_axes(self._task.spaces[0])[0]
        uniform = [Candidate.of(axis.assign(n)) for n in reversed(range(len(axis.levels)))]
        swept = yield from self._ask("network", [Suggestion(each, WHOLE) for each in uniform])
        passed = [evaluation for evaluation in swept if self._passes(evaluation)]
        if not passed:
            return None
        lowest = passed[-1]
        drift = lowest.measures["drift"]
        options = self._options
        self._checks = Checks(
            max_drift=options.slack * drift if options.gate and drift > 0 else None,
            subset=options.subset if options.mini_batch else 0,
            subset_drop=self._limit + options.margin if options.mini_batch else 0.0,
        )
        return lowest

    def _lowered(self, candidate: Candidate, axis: Axis) -> Candidate | None:
        """The candidate with one axis at its next lower width; None: it is at the lowest."""
        values = candidate.values(self._sites)
        number = axis.find(values)
        if not number:
            return None
        return Candidate.of({**values, **axis.assign(number - 1)})

    def _memory(self, candidate: Candidate, axis: Axis) -> float:
        """Bytes that the weights of an axis take, without what goes with them at any width."""
        values = candidate.values(self._sites)
        bits = values[axis.sites[0]]
        low, high = axis.assign(0), axis.assign(len(axis.levels) - 1)
        spread = self._bytes(Candidate.of({**values, **high})) - self._bytes(
            Candidate.of({**values, **low})
        )
        return bits * spread / (high[axis.sites[0]] - low[axis.sites[0]])

    def _bytes(self, candidate: Candidate) -> float:
        if candidate not in self._sizes:
            self._sizes[candidate] = self._task.price(candidate)["bytes"]
        return self._sizes[candidate]

    @override
    def _cost(self, evaluation: Evaluation) -> float:
        return evaluation.measures["bytes"]

    @override
    def _facts(self, chosen: Evaluation | None) -> Mapping[str, Any]:
        full = [e for e in self._full() if "drift" in e.measures]
        drifts = [e.measures["drift"] for e in full]
        kept = None if chosen is None else chosen.measures["bytes_ratio"]
        return {
            "max_drift": self._checks.max_drift,
            "rejected_by_drift": self._rejected(Stage.DRIFT),
            "rejected_by_mini_batch": self._rejected(Stage.SUBSET),
            "rank_correlation": rank_correlation(drifts, [e.measures["accuracy"] for e in full]),
            "saved_of_float32": None if kept is None else 1 - kept,
            "saved_of_qsvit": None if kept is None else 1 - kept / QSVIT_KEPT,
        }

    def _rejected(self, stage: Stage) -> int:
        """Candidates that a stage ended."""
        return len({e.key for e in self._all() if self._ended(e) is stage})

    def _ended(self, evaluation: Evaluation) -> Stage | None:
        """Stage that said no; a probe judges nothing, but the gate goes by its drift."""
        limit = self._checks.max_drift
        if evaluation.state is State.PROBED and limit is not None:
            return Stage.DRIFT if evaluation.measures["drift"] > limit else None
        if evaluation.state is State.REJECTED and evaluation.rejection is not None:
            return evaluation.rejection.stage
        return None


def _weight_axes(space: Space) -> list[Axis]:
    return [axis for axis in space.axes if axis.kind is SiteKind.WEIGHT]
