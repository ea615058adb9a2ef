"""Evaluates candidates in stages, cheap to dear, until one says no."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..spaces.candidate import Candidate
from ..spaces.surgery import DEFAULT, SurgeryOptions
from ..svtmodels.costs import Costs, parent_bytes, static_costs
from ..svtmodels.engine.prefix import Images
from ..svtmodels.network import Network
from ..svtmodels.neuron_sizes import neuron_sizes
from .accuracy import BATCH_SIZE, batches, correct
from .builder import CandidateBuilder
from .data.dataset import ImageData
from .data.preprocessing import Preprocessing
from .drift import Traces, layer_drifts, mean_drift
from .energy import energy_preset
from .engines import COMPILED
from .evaluation import Evaluation, Gate, Rejection, Request, Stage, State
from .image_order import Draw, draw_images
from .intervals import paired_interval
from .paired_answers import PairedAnswers
from .runner import Runner
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
        engine: what runs networks, of `ENGINES`.
        prefix_mib: memory for what candidates have in common, in MiB; 0: nothing is reused. It
            costs memory and saves time; no result depends on it.
    """

    batch_size: int = BATCH_SIZE
    gate_images: int = 128
    alpha: float = 0.05
    energy_preset: str = "45nm"
    max_drop: float | None = None
    max_bytes: int | None = None
    max_energy_mj: float | None = None
    surgery: SurgeryOptions = DEFAULT
    engine: str = COMPILED
    prefix_mib: int = 256


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
        settings: EvaluationSettings,
    ) -> None:
        self.network = builder.network
        self.settings = settings
        self.prefixes = builder.prefixes
        self._builder = builder
        self._calibration = preprocessing.apply(calibration.images)
        self._search = search
        self._test = test
        self._preprocessing = preprocessing
        self._traces = traces
        self._search_correct = search_correct
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
        runner = self._runner(self.network)
        counted = SynOpCounter(self.network, runner.program)
        with counted:
            for images, _ in batches(self._search, self._preprocessing, self.settings.batch_size):
                runner(images)
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
            runner = self._runner(self._builder.build(run.candidate))
            drifts = layer_drifts(
                runner.network,
                self._traces,
                self._calibration,
                self.settings.batch_size,
                runner,
            )
            run.measures["drift"] = mean_drift(drifts)
            run.images += self._builder.images_for(run.candidate) + len(self._calibration)
        gate = run.request.gate
        if gate.max_drift is not None and run.measures["drift"] > gate.max_drift:
            run.rejection = Rejection(Stage.DRIFT, run.measures["drift"], gate.max_drift)
            if not run.request.audited:
                return run.rejected(run.measures["drift"] - gate.max_drift)
        with run.timed(Stage.SUBSET):
            done = self._judge(run, runner, costs)
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
    def _judge(self, run: _Run, runner: Runner, costs: Costs) -> bool:
        """Go through the search images; False if the sequential test ended it."""
        draw = draw_images(run.request.gate.order, run.candidate.key, self._search_correct)
        test = self._test_of(run, draw, costs.bytes)
        # Whoever is sure to see all images sees them as they lie, in the batches of the parent.
        stops = test is not None and not run.request.audited
        order = draw.order if stops else np.arange(len(draw.order))
        differences = np.zeros(len(order), np.int64)
        counted = SynOpCounter(runner.network, runner.program)
        with counted:
            for start in range(0, len(order), self.settings.batch_size):
                rows = order[start : start + self.settings.batch_size]
                images, labels = self._take(rows)
                right = (runner(images, Images("search", rows)).argmax(1) == labels).numpy()
                differences[rows] = self._search_correct[rows].astype(np.int64) - right
                run.images += len(right)
                if test is not None and stops:
                    test.update(differences[rows])
                    if self._says_no(run, test):
                        self._note_estimate(run, test, draw, differences)
                        return False
        if test is not None and not stops:
            test.update(differences[draw.order])
            self._says_no(run, test)
        run.answers = PairedAnswers.of(differences, order)
        run.measures |= self._accuracy(differences)
        run.measures |= self._operations(costs, counted, len(order), runner.network.time_steps)
        return True

    def _test_of(self, run: _Run, draw: Draw, size: int) -> DropTest | None:
        """Test of a candidate; None where any drop is of interest or another stage said no."""
        limit = self._allowed_drop(run.request.gate, size)
        if limit is None or run.rejection is not None:
            return None
        return DropTest(limit, draw.weights, draw.parent_right, self.settings.alpha)

    def _take(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Network inputs and labels of some search images."""
        inputs = self._preprocessing.apply(self._search.images[rows])
        return inputs, torch.from_numpy(self._search.labels[rows])

    def _says_no(self, run: _Run, test: DropTest) -> bool:
        """Note a rejection; one by the last image of all comes too late to be one."""
        if test.rejected_at is None or test.rejected_at == len(self._search):
            return False
        run.rejection = Rejection(Stage.SUBSET, test.estimate, test.limit)
        return True

    def _note_estimate(
        self, run: _Run, test: DropTest, draw: Draw, differences: NDArray[np.int64]
    ) -> None:
        """Only up to the image that decided: the cut into batches changes nothing."""
        assert test.rejected_at is not None
        run.answers = PairedAnswers.of(differences, draw.order[: test.rejected_at])
        run.measures |= {
            "accuracy": float(self._search_correct.mean()) - test.estimate,
            "n_search": test.rejected_at,
            "drop": test.estimate,
        }

    def _accuracy(self, differences: NDArray[np.int64]) -> dict[str, float]:
        """Plain means over all search images."""
        seen, lost = len(differences), int(differences.sum())
        return {
            "accuracy": (int(self._search_correct.sum()) - lost) / seen,
            "n_search": seen,
            "drop": lost / seen,
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
            runner = self._runner(self._builder.build(run.candidate))
            answers = [
                (runner(images).argmax(1) == labels).numpy()
                for images, labels in batches(
                    self._test, self._preprocessing, self.settings.batch_size
                )
            ]
        right = np.concatenate(answers)
        parent = self._test_correct
        low, high = paired_interval(parent, right)
        run.images += self._builder.images_for(run.candidate) + len(right)
        run.measures |= {
            "accuracy_test": float(right.mean()),
            "n_test": len(right),
            "parent_accuracy_test": float(parent.mean()),
            "drop_test": float(parent.mean() - right.mean()),
            "drop_low": low,
            "drop_high": high,
        }
        return run.complete()

    @functools.cached_property
    def _test_correct(self) -> NDArray[np.bool_]:
        """Answers of the trained network: not before a front member is tested, and only then."""
        runner, batch = self._runner(self.network), self.settings.batch_size
        return correct(runner, self._test, self._preprocessing, batch).numpy()

    def _runner(self, network: Network) -> Runner:
        return Runner(network, self.settings.engine, self._builder.prefixes)

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
        self.answers: PairedAnswers | None = None
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
            answers=self.answers,
            timing=timing,
        )
