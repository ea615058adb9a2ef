"""The end of a search: test, pack, verify, record, report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..cluster.backend import Backend
from ..evaluators.blueprint import Blueprint
from ..evaluators.evaluation import Evaluation, Request
from ..evaluators.packing import pack_member, verify
from ..spaces.errors import RunFailed
from .config import Config
from .controller import Controller
from .gate import audit
from .method_outcome import chosen_model
from .parent import Parent
from .plan import Plan
from .report.build import build_report
from .results import (
    front_record,
    member_record,
    miss_record,
    nearest_misses,
    write_evaluations,
)
from .run_folder import RunFolder, write_json
from .selection import corrected_accuracies
from .sensitivity_table import write_table

NEAREST_MISSES = "nearest_misses.json"


@dataclass(frozen=True)
class Conclusion:
    """Turns what a controller has committed into the files of a run's folder."""

    config: Config
    folder: RunFolder
    plan: Plan
    blueprint: Blueprint
    parent: Parent
    backend: Backend[Request, Evaluation]
    controller: Controller

    def write(self) -> dict[str, Any]:
        """Write everything but the tracker's; returns front.json, parsed.

        Raises:
            RunFailed: no space left, or a model cannot be tested or does not prove to be itself.
        """
        folder, evaluations = self.folder, self.controller.evaluations
        write_evaluations(folder.evaluations, evaluations)
        if (matrix := self.plan.strategy.table()) is not None:
            write_table(folder.sensitivity, matrix)
        record = self._record()
        write_json(folder.front, record)
        self._write_misses()
        build_report(folder.path)
        return record

    def _record(self) -> dict[str, Any]:
        controller, settings = self.controller, self.plan.settings
        front = controller.front
        members = {member.key: member for member in front.members}
        outcome = self.plan.strategy.outcome()
        model = chosen_model(outcome, controller.evaluations)
        packed = members if model is None else {**members, model.key: model}
        tests = self._tested(packed.values())
        tested = next((done.measures["parent_accuracy_test"] for done in tests.values()), None)
        corrected = corrected_accuracies(
            front.members,
            controller.evaluations,
            front.objectives,
            settings.max_drop,
            self.config.seed,
        )
        entries = {
            key: member_record(member, tests.get(key), None, corrected.get(key))
            for key, member in packed.items()
        }
        for key, entry in entries.items():
            entry["bytes_container"] = self._pack(packed[key], entry)
        return front_record(
            front,
            self.parent.record(tested),
            [entries[key] for key in members],
            self.parent.reference,
            controller.counts,
            audit(controller.evaluations, controller.limited_since),
            {"drop": settings.max_drop, "bytes": settings.max_bytes},
            method=None
            if outcome is None
            else {
                "name": self.config.strategy.name,
                **outcome,
                "model": None if model is None else entries[model.key],
            },
            paper_split=self.config.paper_split,
        )

    def _tested(self, models: Iterable[Evaluation]) -> dict[str, Evaluation]:
        """Evaluate each model once on the test split."""
        if not len(self.blueprint.test):
            return {}
        backend, waiting = self.backend, dict(enumerate(models))
        results: dict[str, Evaluation] = {}
        while waiting or backend.in_flight:
            while waiting and backend.in_flight < backend.capacity:
                number = next(iter(waiting))
                backend.submit(number, Request(waiting.pop(number).candidate, test=True))
            for done in backend.wait():
                if done.result is None:
                    raise RunFailed(f"a model could not be tested: {done.error}")
                results[done.result.key] = done.result
        return results

    def _pack(self, model: Evaluation, entry: dict[str, Any]) -> int:
        """Write the packed folder of a model; its bytes."""
        path = self.folder.member(model.key)
        shared = {
            "data": self.config.data,
            "search": self.config.name,
            "parent": self.plan.model.name,
        }
        size = pack_member(self.blueprint, model.candidate, path, {**shared, **entry})
        if not verify(path, with_data=False).passed:
            raise RunFailed(f"{path}: the packed file does not reproduce its network.")
        return size

    def _write_misses(self) -> None:
        misses = self.folder.path / NEAREST_MISSES
        if self.controller.front.members:
            misses.unlink(missing_ok=True)
            return
        nearest = nearest_misses(self.controller.evaluations)
        write_json(misses, {"misses": [miss_record(miss) for miss in nearest]})
