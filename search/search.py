"""A search as a whole: from a config to a run's folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..cluster.backend import Backend
from ..cluster.in_process import InProcessBackend
from ..evaluators.blueprint import Blueprint
from ..evaluators.evaluation import Evaluation, Request
from ..evaluators.preparation import prepare
from ..spaces.errors import NothingFeasible
from .conclusion import NEAREST_MISSES, Conclusion
from .config import Config
from .controller import Budget, Controller
from .front import Front
from .gate import GatePolicy
from .ledger import Ledger
from .parent import Parent
from .plan import Plan
from .progress import Progress
from .run_folder import RunFolder, write_text
from .strategies import STRATEGIES
from .strategies.warm_start import WarmStart
from .tracking.settings import tracking_uri
from .tracking.tracker import Tracker

_NOTE = "tracking"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search came to.

    Attributes:
        folder: of the run.
        front: its members, ascending in bytes.
        record: front.json, parsed.
    """

    folder: Path
    front: list[Evaluation]
    record: dict[str, Any]


class Search:
    """One search; build it with `from_config` or `resume`."""

    def __init__(self, config: Config, *, resumed: bool = False) -> None:
        self.config = config
        self.folder = RunFolder(Path(config.output) / config.name)
        self._resumed = resumed
        self._say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)

    @classmethod
    def from_config(cls, path: str | Path, overrides: dict[str, Any] | None = None) -> Self:
        """Search that a config file describes.

        Raises:
            BadInput: the config is wrong; lists every problem.
        """
        config = Config.load(path, STRATEGIES)
        if overrides:
            config = config.merged(overrides, strategies=STRATEGIES)
        return cls(config)

    @classmethod
    def resume(cls, run: str | Path, overrides: dict[str, Any] | None = None) -> Self:
        """Search that was interrupted; workers and budget may be changed, nothing else.

        Raises:
            BadInput: no run lies there.
        """
        folder = RunFolder(Path(run).resolve())
        folder.require()
        fixed = {"output": str(folder.path.parent), "name": folder.path.name}
        config = Config.load(folder.config, STRATEGIES)
        return cls(
            config.merged({**fixed, **(overrides or {})}, strategies=STRATEGIES), resumed=True
        )

    def plan(self) -> Plan:
        """Load the network, lay out the space and make the strategy.

        Raises:
            BadInput: the checkpoint cannot be used, levels are out of range, or the strategy
                does not know an option.
        """
        return Plan.of(self.config)

    def run(self) -> SearchResult:
        """Search, evaluate the front on the test split, pack, verify, record and report.

        Raises:
            BadInput: config, checkpoint or data are wrong; nothing was written.
            NothingFeasible: no candidate meets the constraints; nearest misses are saved.
            RunFailed: no space left, or no worker comes up.
            KeyboardInterrupt: says how to go on, once there is something to go on with.
        """
        self._check_folder()
        plan = self.plan()
        config = self.config
        blueprint, notes = prepare(
            plan.model, config.data, plan.settings, config.seed, paper_split=config.paper_split
        )
        if isinstance(plan.strategy, WarmStart):
            notes.append(plan.strategy.findings.note)
        for note in notes:
            self._say(note)
        ledger = self._ledger(blueprint)
        try:
            with ledger, _backend(config, blueprint) as backend:
                return self._search(plan, blueprint, backend, ledger)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"everything committed is safe; go on with: spikefront resume {self.folder.path}"
            ) from None

    def _check_folder(self) -> None:
        """Find out before anything is spent whether the run can be written."""
        if not self._resumed:
            self.folder.require_free()
        if self.config.tracking.enabled:
            tracking_uri(self.config.tracking.settings, self.folder.path)

    def _search(
        self,
        plan: Plan,
        blueprint: Blueprint,
        backend: Backend[Request, Evaluation],
        ledger: Ledger,
    ) -> SearchResult:
        tracker = self._tracker(ledger)
        try:
            parent = Parent(plan, blueprint)
            controller = self._controller(plan, parent, backend, ledger)
            found = controller.counts.evaluations
            self._run(controller, tracker)
            if controller.counts.evaluations == found and self.folder.front.exists():
                # Nothing is new: the test split stays untouched, the results as they are.
                self._say("This run was finished; nothing was left to do.")
                tracker.close("FINISHED")
                result = SearchResult(
                    self.folder.path, controller.front.members, self.folder.read_front()
                )
            else:
                ending = Conclusion(
                    self.config, self.folder, plan, blueprint, parent, backend, controller
                )
                record, front = ending.write(), controller.front
                tracker.finish(record, aliases=_aliases(front) if front.members else None)
                result = SearchResult(self.folder.path, front.members, record)
        except BaseException as error:
            tracker.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        if not result.front:
            raise NothingFeasible(
                f"none of {controller.counts.candidates} candidates meets the constraints; the "
                f"nearest misses are in {self.folder.path / NEAREST_MISSES}."
            )
        return result

    def _ledger(self, blueprint: Blueprint) -> Ledger:
        config = self.config
        trace = {
            "space": config.space.model_dump(mode="json"),
            "strategy": config.strategy.model_dump(mode="json"),
            "objectives": list(config.objectives),
            "gate": config.gate.model_dump(mode="json"),
            "window": config.cluster.window,
            "ordered": config.cluster.ordered,
            "seed": config.seed,
        }
        fingerprints = {**blueprint.fingerprints(), **trace}
        if self._resumed:
            return Ledger.open(self.folder.ledger, fingerprints)
        self.folder.create()
        write_text(self.folder.config, config.to_yaml())
        return Ledger.create(
            self.folder.ledger, {"name": config.name, "fingerprints": fingerprints}
        )

    def _tracker(self, ledger: Ledger) -> Tracker:
        tracker = Tracker(self.config.tracking.settings, self.folder.path)
        earlier = [e["run"] for e in ledger.replayed if e.get("what") == _NOTE]
        if earlier:
            tracker.resume(earlier[-1])
        elif self.config.tracking.enabled:
            run = tracker.start(
                self.config.name, self.config.model_dump(mode="json"), {"seed": self.config.seed}
            )
            ledger.append({"event": "note", "what": _NOTE, "run": run})
        return tracker

    def _budget(self) -> Budget:
        given = self.config.budget
        return Budget(given.candidates, given.image_evaluations, given.seconds, given.patience)

    def _controller(
        self,
        plan: Plan,
        parent: Parent,
        backend: Backend[Request, Evaluation],
        ledger: Ledger,
    ) -> Controller:
        config = self.config
        controller = Controller(
            plan.strategy,
            backend,
            ledger,
            Front(plan.objectives),
            GatePolicy(config.gate, config.seed, config.constraints.max_drop),
            self._budget(),
            config.cluster.window,
            ordered=config.cluster.ordered,
            space_size=plan.space.size,
            reference=None if config.budget.patience is None else parent.reference,
        )
        found = controller.replay(ledger.replayed)
        if self._resumed:
            torn = f", {ledger.torn_bytes} torn bytes cut off" if ledger.torn_bytes else ""
            self._say(f"Resumed after {found} committed suggestions{torn}.")
        return controller

    def _run(self, controller: Controller, tracker: Tracker) -> None:
        progress = Progress(self._budget(), controller.counts, controller.front)
        controller.observe(progress)
        controller.observe(_Tracking(tracker, controller))
        try:
            controller.run()
        finally:
            progress.finish()


class _Tracking:
    """Sends the state of a search to its tracker."""

    def __init__(self, tracker: Tracker, controller: Controller) -> None:
        self._tracker = tracker
        self._controller = controller

    def committed(self, evaluation: Evaluation, hit: bool) -> None:
        counts, front = self._controller.counts, self._controller.front
        smallest = front.smallest().measures["bytes"] if front.members else None
        metrics = {
            "front_size": len(front),
            "smallest_bytes": smallest,
            "rejected": sum(counts.rejected_by.values()),
            "image_evaluations": counts.image_evaluations,
        }
        self._tracker.progress(counts.evaluations, metrics)


def _backend(config: Config, blueprint: Blueprint) -> Backend[Request, Evaluation]:
    cluster = config.cluster
    if cluster.backend == "in-process":
        return InProcessBackend(blueprint, capacity=cluster.window)
    from ..cluster.ray_backend import RayBackend

    return RayBackend(
        blueprint,
        cluster.worker_count,
        cluster.window,
        max_attempts=cluster.max_attempts,
        address=cluster.address,
        call_timeout=cluster.call_timeout,
    )


def _aliases(front: Front) -> dict[str, str]:
    return {
        "smallest": front.smallest().key,
        "most-accurate": front.most_accurate().key,
        "knee": front.knee().key,
    }
