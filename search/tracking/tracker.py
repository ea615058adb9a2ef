"""Leaves a search in MLflow: one run for it, one child run and model version per front member."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...spaces.errors import BadInput, unknown_name
from .limits import clean_metrics, clean_tags, flatten, param_batches
from .operation import Kind, Operation, child_id, new_local_id
from .outbox import SPOOL_FILE, Outbox
from .progress import Point, ProgressBuffer
from .registry import KEY_TAG
from .settings import TrackingSettings, tracking_uri
from .store import FRONT_TAG

STATUSES = ("FINISHED", "FAILED", "KILLED")
"""How a search may end, in the words of MLflow."""

_RUN_FILES = ("config.yaml", "front.json", "report.html", "evaluations.parquet")
_MEMBER_METRICS = (
    "accuracy_search",
    "accuracy_test",
    "bytes",
    "bytes_ratio",
    "macs",
    "synops",
    "energy_mj",
)

_log = logging.getLogger(__name__)


class Tracker:
    """Writes one search to MLflow. Its methods are called by one thread.

    MLflow is imported and reached by the first `start` or `resume`. Where it is down, everything
    is kept in the run's folder and written later, by this tracker or by `replay_spool`; no
    failure of MLflow ends a search.
    """

    def __init__(self, settings: TrackingSettings, run_folder: Path) -> None:
        """Tracker of a run's folder, which exists.

        Raises:
            BadInput: MLflow cannot keep its database in this folder.
        """
        self._enabled = settings.enabled
        self._run: str | None = None
        if self._enabled:
            tracking_uri(settings, run_folder)
        self._outbox = Outbox(settings, run_folder)
        self._progress = ProgressBuffer(self._send_progress)
        self._run_folder = run_folder

    def start(self, name: str, config: Mapping[str, Any], tags: Mapping[str, Any]) -> str:
        """Start the run of a search.

        Args:
            name: name of the search, and of the registered model unless the settings name one.
            config: the config; nested names are joined by dots, long values cut.
            tags: tags of the run.

        Returns:
            The run's id, to be kept for `resume`: MLflow's own, a local one while MLflow is
            down, an empty text where tracking is off.
        """
        if not self._enabled:
            return ""
        run = new_local_id()
        self._create_run(run, None, name, tags)
        for batch in param_batches(flatten(config)):
            self._submit(Kind.PARAMS, run, params=batch)
        self._run = self._outbox.run_id(run)
        self._progress.start()
        return self._run

    def resume(self, run_id: str) -> None:
        """Go on with the run of an interrupted search.

        Raises:
            BadInput: `run_id` is empty.
        """
        if not self._enabled:
            return
        if not run_id:
            raise BadInput("no run to resume: this search was not tracked so far; start a run.")
        self._run = run_id
        self._submit(Kind.REOPEN_RUN, run_id)
        self._progress.start()

    def progress(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Note figures of the search as a whole; returns at once. Unknown ones are None."""
        if self._enabled:
            self._progress.add(step, metrics)

    def replay(self) -> int:
        """Write what MLflow has missed; returns how many operations still wait."""
        return self._outbox.replay() if self._enabled else 0

    def finish(
        self,
        front: Mapping[str, Any],
        status: str = "FINISHED",
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        """Write the front, register its members and end the run.

        Args:
            front: front.json, parsed; the packed members stand where it says.
            status: one of `STATUSES`.
            aliases: alias to candidate key, set when all members are registered.

        Raises:
            BadInput: unknown status, an alias for a key that is not on the front, or no run.
        """
        if not self._enabled:
            return
        members, aliases = list(front["members"]), dict(aliases or {})
        _check_aliases(aliases, [member["key"] for member in members])
        run = self._open_run(status)
        self._progress.stop()
        self._outbox.replay()
        self._submit_results(run, front)
        for member in members:
            self._submit_member(run, member)
        self._submit(Kind.MARK_FRONT, run, keys=[member["key"] for member in members])
        for member in members:
            self._submit_registration(run, member)
        if aliases:
            self._submit(Kind.ALIASES, run, aliases=aliases)
        self._end(run, status)

    def close(self, status: str = "KILLED") -> None:
        """End the run of a search that did not get to its end; after `finish` it does nothing.

        Raises:
            BadInput: unknown status.
        """
        if self._run is None:
            return
        run = self._open_run(status)
        self._progress.stop()
        self._end(run, status)

    def _open_run(self, status: str) -> str:
        if status not in STATUSES:
            raise unknown_name("status", status, STATUSES)
        if self._run is None:
            raise BadInput("no run is open; call start or resume first.")
        return self._run

    def _end(self, run: str, status: str) -> None:
        self._submit(Kind.END_RUN, run, status=status, time=_now())
        self._run = None
        self._outbox.close()
        if (self._run_folder / SPOOL_FILE).exists():
            _log.warning(
                "MLflow has not got everything; %s keeps the rest until it is replayed.",
                self._run_folder / SPOOL_FILE,
            )

    def _submit_results(self, run: str, front: Mapping[str, Any]) -> None:
        for name in _RUN_FILES:
            if (self._run_folder / name).is_file():
                self._submit(Kind.FILE, run, path=name)
        figures = {"members": len(front["members"]), "hypervolume": front.get("hypervolume")}
        figures |= front.get("counts", {})
        self._submit_metrics(run, {f"final.{name}": value for name, value in figures.items()})

    def _submit_member(self, run: str, member: Mapping[str, Any]) -> None:
        key = member["key"]
        child = child_id(run, key)
        self._create_run(child, run, key, {KEY_TAG: key, FRONT_TAG: "true"})
        self._submit_metrics(child, {name: member.get(name) for name in _MEMBER_METRICS})
        self._submit(Kind.JSON, child, content=member["candidate"], name="candidate.json")
        self._submit(Kind.END_RUN, child, status="FINISHED", time=_now())

    def _submit_registration(self, run: str, member: Mapping[str, Any]) -> None:
        key = member["key"]
        figures = {name: member.get(name) for name in ("accuracy_test", "bytes")}
        self._submit(
            Kind.REGISTER,
            child_id(run, key),
            search=run,
            path=member["path"],
            tags=clean_tags({KEY_TAG: key} | figures),
        )

    def _create_run(self, run: str, parent: str | None, name: str, tags: Mapping[str, Any]) -> None:
        self._submit(
            Kind.CREATE_RUN, run, parent=parent, name=name, tags=clean_tags(tags), time=_now()
        )

    def _submit_metrics(self, run: str, metrics: Mapping[str, float | None]) -> None:
        now = _now()
        points = [(name, value, now, 0) for name, value in clean_metrics(metrics).items()]
        self._submit(Kind.METRICS, run, metrics=points)

    def _send_progress(self, points: list[Point]) -> None:
        if self._run is not None:
            self._submit(Kind.METRICS, self._run, metrics=points)

    def _submit(self, kind: Kind, run: str, **data: Any) -> None:
        self._outbox.submit(Operation(kind, run, data))


def replay_spool(run_folder: Path, settings: TrackingSettings) -> int:
    """Write what MLflow missed of a search that has ended; returns how much still waits.

    The settings may name another URI than the search had.
    """
    outbox = Outbox(settings, run_folder)
    left = outbox.replay()
    outbox.close()
    return left


def _check_aliases(aliases: Mapping[str, str], keys: list[str]) -> None:
    for alias, key in aliases.items():
        if key not in keys:
            raise unknown_name(f"front member (alias {alias!r})", key, keys)


def _now() -> int:
    return int(time.time() * 1000)
