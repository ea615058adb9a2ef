"""Evaluates candidates in stages, cheap to dear, until one says no."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..spaces.candidate import Candidate
from ..spaces.surgery import DEFAULT, SurgeryOptions
from ..svtmodels.costs import Costs, parent_bytes, static_costs
from ..svtmodels.network import Network
from ..svtmodels.neuron_sizes import neuron_sizes
from .accuracy import BATCH_SIZE, batches
from .builder import CandidateBuilder
from .data.dataset import ImageData
from .data.preprocessing import Preprocessing
from .drift import Traces, layer_drifts, mean_drift
from .energy import energy_preset
from .evaluation import Evaluation, Gate, Rejection, Request, Stage, State
from .intervals import paired_interval
from .sequential import DropTest
from .synops import SynOpCounter


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """How candidates are measured, and the limits that they must keep.

    Attributes:
        batch_size: images per pass.
        gate_images: calibration images of the drift stage.
        alpha: error level of the sequential test.
        energy_preset: name of an energy preset.
        max_drop: accuracy that may be lost against the parent, as a fraction; None: no limit.
        max_bytes: of the packed tensors; None: no limit.
        max_energy_mj: per image; None: no limit.
        surgery: how candidates are built; its recovery images are the first of the gate's.
    """

    batch_size: int = BATCH_SIZE
    gate_images: int = 128
    alpha: float = 0.05
    energy_preset: str = "45nm"
    max_drop: float | None = None
    max_bytes: int | None = None
    max_energy_mj: float | None = None
    surgery: SurgeryOptions = DEFAULT


class Evaluator:
    """Holds a trained network, its data and its traces; evaluates one candidate at a time.

    The stages: static (no forward pass) -> drift (calibration batch) -> subset (sequential test
    over the search images, which ends the evaluation as soon as it is sure) -> full (no image
    left). Nothing that one evaluation learns changes the next one.
    """

    def __init__(
        self,
        builder: CandidateBuilder,
        calibration: ImageData,
        search: ImageData,
        test: ImageData,
        preprocessing: Preprocessing,
        traces: Traces,
        search_correct: NDArray[np.bool_],
        test_correct: NDArray[np.bool_],
        settings: EvaluationSettings,
    ) -> None:
        self.network = builder.network
        self.settings = settings
        self._builder = builder
        self._calibration = preprocessing.apply(calibration.images)
        self._search = search
        self._test = test
        self._preprocessing = preprocessing
        self._traces = traces
        self._search_correct = search_correct
        self._test_correct = test_correct
        self._preset = energy_preset(settings.energy_preset)
        self._parent_bytes = parent_bytes(builder.network)
        # Shapes, looked up by every static stage, which runs no pass of its own.
        neuron_sizes(builder.network)

    def __call__(self, request: Request) -> Evaluation:
        """Evaluate one candidate.

        Raises:
            BadInput: the candidate does not fit the network.
        """
        run = _Run(request)
        if request.test:
            return self._on_test(run)
        return self._on_search(run)

    @torch.inference_mode()
    def parent_measures(self) -> dict[str, float]:
        """Static costs, SynOps and energy of the trained network itself."""
        costs = static_costs(self.network, Candidate())
        counted = SynOpCounter(self.network)
        with counted:
            for images, _ in batches(self._search, self._preprocessing, self.settings.batch_size):
                self.network(images)
        measures = self._operations(costs, counted, len(self._search), self.network.time_steps)
        static = {
            "parameters": costs.parameters,
            "macs": costs.macs,
            "state_bytes": costs.state_bytes,
        }
        return {**static, **measures}

    def _on_search(self, run: _Run) -> Evaluation:
        with run.timed(Stage.STATIC):
            costs = self._builder.costs(run.candidate)
            run.measures |= self._static(costs)
        limit = self.settings.max_bytes
        if limit is not None and costs.bytes > limit:
            return run.infeasible(costs.bytes / limit - 1)
        with run.timed(Stage.DRIFT):
            small = self._builder.build(run.candidate)
            drifts = layer_drifts(small, self._traces, self._calibration, self.settings.batch_size)
            run.measures["drift"] = mean_drift(drifts)
            run.images += self._builder.images_for(run.candidate) + len(self._calibration)
        gate = run.request.gate
        if gate.max_drift is not None and run.measures["drift"] > gate.max_drift:
            run.rejection = Rejection(Stage.DRIFT, run.measures["drift"], gate.max_drift)
            if not run.request.audited:
                return run.rejected(run.measures["drift"] - gate.max_drift)
        with run.timed(Stage.SUBSET):
            done = self._judge(run, small, costs)
        if not done:
            assert run.rejection is not None
            return run.rejected(run.measures["drop"] - run.rejection.threshold)
        run.stage = Stage.FULL
        return self._verdict(run)

    def _static(self, costs: Costs) -> dict[str, float]:
        return {
            "bytes": costs.bytes,
            "bytes_ratio": costs.bytes / self._parent_bytes,
            "parameters": costs.parameters,
            "macs": costs.macs,
            "state_bytes": costs.state_bytes,
        }

    @torch.inference_mode()
    def _judge(self, run: _Run, small: Network, costs: Costs) -> bool:
        """Go through the search images; False if the sequential test ended it."""
        limit = self._allowed_drop(run.request.gate, costs.bytes)
        test = None if limit is None else DropTest(limit, self.settings.alpha)
        counted = SynOpCounter(small)
        answers = np.zeros(0, np.bool_)
        with counted:
            for images, labels in batches(
                self._search, self._preprocessing, self.settings.batch_size
            ):
                right = (small(images).argmax(1) == labels).numpy()
                answers = np.concatenate([answers, right])
                run.images += len(right)
                if test is None or run.rejection is not None:
                    continue
                test.update(self._differences(answers)[test.n :])
                if test.rejected:
                    # Only up to the image that decided: the cut into batches changes nothing.
                    decided = self._accuracy(answers[: test.rejected_at])
                    run.rejection = Rejection(Stage.SUBSET, decided["drop"], test.limit)
                    if not run.request.audited:
                        run.measures |= decided
                        return False
        run.measures |= self._accuracy(answers)
        run.measures |= self._operations(costs, counted, len(answers), small.time_steps)
        return True

    def _differences(self, answers: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Parent is right minus candidate is right, for the first images."""
        return self._search_correct[: len(answers)].astype(np.int64) - answers

    def _accuracy(self, answers: NDArray[np.bool_]) -> dict[str, float]:
        seen = len(answers)
        return {
            "accuracy": int(answers.sum()) / seen,
            "n_search": seen,
            "drop": int(self._differences(answers).sum()) / seen,
        }

    def _allowed_drop(self, gate: Gate, size: int) -> float | None:
        """Largest drop that is still of interest; None: any is."""
        if self.settings.max_drop is not None:
            return self.settings.max_drop
        rivals = [accuracy for rival, accuracy in gate.rivals if rival <= size]
        if not rivals:
            return None
        return float(self._search_correct.mean()) - max(rivals)

    def _verdict(self, run: _Run) -> Evaluation:
        violation = 0.0
        if self.settings.max_drop is not None:
            violation += max(run.measures["drop"] - self.settings.max_drop, 0.0)
        if self.settings.max_energy_mj is not None:
            excess = run.measures["energy_mj"] / self.settings.max_energy_mj - 1
            violation += max(excess, 0.0)
        return run.infeasible(violation) if violation > 0 else run.complete()

    @torch.inference_mode()
    def _on_test(self, run: _Run) -> Evaluation:
        with run.timed(Stage.FULL):
            small = self._builder.build(run.candidate)
            answers = [
                (small(images).argmax(1) == labels).numpy()
                for images, labels in batches(
                    self._test, self._preprocessing, self.settings.batch_size
                )
            ]
        right = np.concatenate(answers)
        low, high = paired_interval(self._test_correct, right)
        run.images += self._builder.images_for(run.candidate) + len(right)
        run.measures |= {
            "accuracy_test": float(right.mean()),
            "n_test": len(right),
            "drop_test": float(self._test_correct.mean() - right.mean()),
            "drop_low": low,
            "drop_high": high,
        }
        return run.complete()

    def _operations(
        self, costs: Costs, counted: SynOpCounter, images: int, steps: int
    ) -> dict[str, float]:
        """SynOps and energy per image; once more with the first layer charged at every step."""
        synops = counted.total / images
        real = costs.first_macs + costs.head_macs + costs.score_macs + costs.current_macs
        repeated = real + costs.first_macs * (steps - 1)
        return {
            "synops": synops,
            "energy_mj": self._preset.energy(real, synops),
            "energy_literature_mj": self._preset.energy(repeated, synops),
        }


class _Run:
    """What one evaluation has come to so far."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.candidate = request.candidate
        self.stage = Stage.STATIC
        self.measures: dict[str, float] = {}
        self.rejection: Rejection | None = None
        self.images = 0
        self._seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        self.stage = stage
        started = time.perf_counter()
        yield
        self._seconds[stage.value] = time.perf_counter() - started

    def rejected(self, violation: float) -> Evaluation:
        return self._end(State.REJECTED, violation)

    def infeasible(self, violation: float) -> Evaluation:
        return self._end(State.INFEASIBLE, violation)

    def complete(self) -> Evaluation:
        return self._end(State.COMPLETE, 0.0)

    def _end(self, state: State, violation: float) -> Evaluation:
        timing: dict[str, Any] = {"seconds": dict(self._seconds)}
        return Evaluation(
            candidate=self.candidate,
            state=state,
            stage=self.stage,
            measures=self.measures,
            rejection=self.rejection,
            violation=max(violation, 0.0),
            audited=self.request.audited,
            gate_version=self.request.gate.version,
            image_evaluations=self.images,
            timing=timing,
        )
