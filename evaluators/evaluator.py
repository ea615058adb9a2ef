"""Evaluates candidates in stages, cheap to dear, until one says no."""

from __future__ import annotations

import functools
from collections.abc import Mapping
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
from .accuracy import BATCH_SIZE, batches, correct
from .builder import CandidateBuilder
from .data.dataset import ImageData
from .data.preprocessing import Preprocessing
from .drift import Traces
from .energy import energy_preset
from .engines import COMPILED
from .evaluation import Evaluation, Gate, Request, Stage
from .evaluation_run import EvaluationRun
from .intervals import paired_interval
from .runner import Runner
from .search_stage import SearchStage
from .signals import GateStage, TooMuch
from .synops import SynOpCounter
from .verdict import Verdict, verdict_of

_STATIC = ("bytes", "macs")
_COUNTED = ("energy_mj", "synops")


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
        max_synops: per image; None: no limit.
        max_macs: of one image; None: no limit.
        surgery: how candidates are built; its recovery images are the last ones of calibration.
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
    max_synops: float | None = None
    max_macs: int | None = None
    surgery: SurgeryOptions = DEFAULT
    engine: str = COMPILED
    prefix_mib: int = 256


class Evaluator:
    """Holds a trained network, its data and its traces; evaluates one candidate at a time.

    The stages: static (no forward pass) -> drift (calibration batch, left as soon as the gate's
    verdict is sure) -> subset (sequential test over the search images, which ends the evaluation
    as soon as it is sure) -> full (no image left). A request with `Checks` goes through these
    instead. Nothing that one evaluation learns changes the next one.
    """

    def __init__(
        self,
        builder: CandidateBuilder,
        calibration: ImageData,
        search: ImageData,
        test: ImageData,
        preprocessing: Preprocessing,
        traces: Traces,
        gate_logits: NDArray[Any],
        search_correct: NDArray[np.bool_],
        settings: EvaluationSettings,
    ) -> None:
        self.network = builder.network
        self.settings = settings
        self.prefixes = builder.prefixes
        self._builder = builder
        inputs, batch = preprocessing.apply(calibration.images), settings.batch_size
        self._gate_stage = GateStage(inputs, traces, gate_logits, batch)
        self._search_stage = SearchStage(
            search, preprocessing, search_correct, batch, settings.alpha
        )
        self._search = search
        self._test = test
        self._preprocessing = preprocessing
        self._preset = energy_preset(settings.energy_preset)
        self._parent_bytes = parent_bytes(builder.network)
        # Shapes, looked up by every static stage, which runs no pass of its own.
        neuron_sizes(builder.network)

    def __call__(self, request: Request) -> Evaluation:
        """Evaluate one candidate.

        Raises:
            BadInput: the candidate does not fit the network.
        """
        run = EvaluationRun(request)
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
        measures = self._operations(costs, counted, len(self._search), self.network)
        static = {
            "parameters": costs.parameters,
            "macs": costs.macs,
            "state_bytes": costs.state_bytes,
        }
        return {**static, **measures}

    def _on_search(self, run: EvaluationRun) -> Evaluation:
        with run.timed(Stage.STATIC):
            costs = self._builder.costs(run.candidate)
            run.measures |= static_measures(costs, self._parent_bytes)
        excess = self._excess(run.measures, _STATIC)
        if excess > 0 and run.request.checks is None:
            return run.infeasible(excess)
        with run.timed(Stage.DRIFT):
            runner = self._runner(self._builder.build(run.candidate))
            run.images += self._builder.images_for(run.candidate)
            if run.request.is_probe:
                self._probe(run, runner, costs)
            else:
                self._pass_gate(run, runner)
        if run.request.is_probe:
            return run.probed()
        if run.rejection is not None and run.obeys:
            return run.rejected()
        counted = SynOpCounter(runner.network, runner.program)
        with run.timed(Stage.SUBSET), counted:
            done = self._search_stage(run, runner, self._allowed_drop(run))
        if not done:
            return run.rejected()
        run.stage = Stage.FULL
        run.measures |= self._operations(costs, counted, len(self._search), runner.network)
        violation = self._violation(run.measures)
        return run.infeasible(violation) if violation > 0 else run.complete()

    def _probe(self, run: EvaluationRun, runner: Runner, costs: Costs) -> None:
        """All signals, and what the gate's images cost."""
        counted = SynOpCounter(runner.network, runner.program)
        with counted:
            self._look(run, runner, None)
        images = self._gate_stage.images
        run.measures |= self._operations(costs, counted, images, runner.network)

    def _pass_gate(self, run: EvaluationRun, runner: Runner) -> None:
        """Signals up to where the verdict is sure, and the verdict."""
        verdict = self._verdict(run)

        def too_much(known: Mapping[str, float]) -> bool:
            return verdict(known) is not None

        run.rejection = verdict(self._look(run, runner, too_much if run.obeys else None))

    def _look(
        self, run: EvaluationRun, runner: Runner, too_much: TooMuch | None
    ) -> dict[str, float]:
        signals = self._gate_stage(runner, too_much)
        run.images += self._gate_stage.images
        run.measures |= signals.measures
        run.layers = signals.layers
        return signals.all

    def _verdict(self, run: EvaluationRun) -> Verdict:
        checks = run.request.checks
        if checks is not None:
            return verdict_of(Gate(max_drift=checks.max_drift), None)
        return verdict_of(run.request.gate, self._allowed_drop(run))

    def _allowed_drop(self, run: EvaluationRun) -> float | None:
        """Largest drop that is still of interest; None: any is."""
        if self.settings.max_drop is not None:
            return self.settings.max_drop
        size = run.measures["bytes"]
        rivals = [accuracy for rival, accuracy in run.request.gate.rivals if rival <= size]
        if not rivals:
            return None
        return self._search_stage.accuracy - max(rivals)

    def _violation(self, measures: Mapping[str, float]) -> float:
        """Of all constraints, in full: points of accuracy, and shares of the limits."""
        drop, limit = measures["drop"], self.settings.max_drop
        lost = 0.0 if limit is None else max(drop - limit, 0.0)
        return lost + self._excess(measures, _STATIC + _COUNTED)

    def _excess(self, measures: Mapping[str, float], names: tuple[str, ...]) -> float:
        """By how much measures exceed their limits, each relative to its limit, in sum."""
        limits = {name: getattr(self.settings, f"max_{name}") for name in names}
        return sum(
            max(measures[name] / limit - 1, 0.0)
            for name, limit in limits.items()
            if limit is not None
        )

    @torch.inference_mode()
    def _on_test(self, run: EvaluationRun) -> Evaluation:
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
        self, costs: Costs, counted: SynOpCounter, images: int, network: Network
    ) -> dict[str, float]:
        """SynOps and energy per image; once more with the first layer charged at every step."""
        synops, steps = counted.total / max(images, 1), network.time_steps
        real = costs.first_macs + costs.head_macs + costs.score_macs + costs.current_macs
        repeated = real + costs.first_macs * (steps - 1)
        return {
            "synops": synops,
            "energy_mj": self._preset.energy(real, synops),
            "energy_literature_mj": self._preset.energy(repeated, synops),
        }


def static_measures(costs: Costs, parent: int) -> dict[str, float]:
    """What is known of a candidate before it is built; `parent`: bytes of the trained network."""
    return {
        "bytes": costs.bytes,
        "bytes_ratio": costs.bytes / parent,
        "parameters": costs.parameters,
        "macs": costs.macs,
        "state_bytes": costs.state_bytes,
    }
