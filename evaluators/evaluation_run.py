"""What one evaluation has come to so far."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .evaluation import Evaluation, Rejection, Request, Stage, State
from .paired_answers import PairedAnswers


class EvaluationRun:
    """Notes of the stages, and the evaluation that they make in the end.

    Attributes:
        request: that is served.
        stage: that runs, or the last one.
        measures: so far.
        layers: drift by neuron layer.
        rejection: first verdict against it; None: none so far.
        images: forward passes of one image; one that ended early counts.
        answers: on the search images.
        latency: seconds that its network took for the search images.
        entropies: cross-entropy [nats] of each search image that was asked.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.candidate = request.candidate
        self.stage = Stage.STATIC
        self.measures: dict[str, float] = {}
        self.layers: Mapping[str, float] = {}
        self.rejection: Rejection | None = None
        self.images = 0
        self.answers: PairedAnswers | None = None
        self.latency = 0.0
        self.entropies: list[float] = []
        self._seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """A stage, as long as it lasts."""
        self.stage = stage
        started = time.perf_counter()
        yield
        self._seconds[stage.value] = time.perf_counter() - started

    @property
    def obeys(self) -> bool:
        """Whether a verdict against it ends it: of checks always, of the gate unless audited."""
        return self.request.checks is not None or not self.request.audited

    def rejected(self) -> Evaluation:
        """Ended by its rejection."""
        assert self.rejection is not None
        return self._end(State.REJECTED, self.rejection.value - self.rejection.threshold)

    def infeasible(self, violation: float) -> Evaluation:
        """Known to violate constraints."""
        return self._end(State.INFEASIBLE, violation)

    def probed(self) -> Evaluation:
        """Measured as far as was asked for."""
        return self._end(State.PROBED, 0.0)

    def complete(self) -> Evaluation:
        """Measured in full, and within all constraints."""
        return self._end(State.COMPLETE, 0.0)

    def _end(self, state: State, violation: float) -> Evaluation:
        timing: dict[str, Any] = {"seconds": dict(self._seconds)}
        if self.stage is Stage.FULL and "n_search" in self.measures:
            timing["latency_ms"] = 1000 * self.latency / self.measures["n_search"]
        return Evaluation(
            candidate=self.candidate,
            state=state,
            stage=self.stage,
            measures=self.measures,
            layers=self.layers,
            rejection=self.rejection,
            violation=max(violation, 0.0),
            audited=self.request.audited,
            gate_version=self.request.gate.version,
            image_evaluations=self.images,
            answers=self.answers,
            timing=timing,
        )
