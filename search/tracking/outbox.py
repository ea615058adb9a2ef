"""Between a search and MLflow: what cannot be done now is kept and done later, in order."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from ...spaces.errors import BadInput
from .operation import Operation
from .settings import TrackingSettings
from .spool import Spool
from .store import Store

SPOOL_FILE = "mlflow-spool.jsonl"
"""In the run's folder, while something waits."""

_RETRY_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Outbox:
    """Does operations in the order of submission, now or later; may be used by several threads.

    MLflow being down costs one warning and, every 30 s, one attempt. Nothing here raises.
    """

    def __init__(self, settings: TrackingSettings, run_folder: Path) -> None:
        self._settings = settings
        self._run_folder = run_folder
        self._spool = Spool(run_folder / SPOOL_FILE)
        self._store: Store | None = None
        self._down = False
        self._retry_at = 0.0
        self._lock = threading.RLock()

    def submit(self, operation: Operation) -> None:
        """Do an operation, or keep it where MLflow or an earlier operation makes it wait."""
        with self._lock:
            if len(self._spool) == 0:
                if not self._do(operation):
                    self._spool.append(operation)
                return
            self._spool.append(operation)
            if time.monotonic() >= self._retry_at:
                self.replay()

    def replay(self) -> int:
        """Do what waits, as far as it goes; returns how many operations still wait."""
        with self._lock:
            waited = len(self._spool)
            while len(self._spool) > 0 and self._do(self._spool.first()):
                self._spool.pop()
            if waited and len(self._spool) == 0:
                _log.info("MLflow got all %d operations that waited for it.", waited)
            return len(self._spool)

    def run_id(self, run: str) -> str:
        """MLflow's id of a run, or its local name while MLflow does not have it."""
        with self._lock:
            return run if self._store is None else self._store.known_id(run)

    def close(self) -> None:
        """Let go of MLflow; a later operation opens it again."""
        with self._lock:
            if self._store is not None:
                self._store.close()
            self._store = None

    def _do(self, operation: Operation) -> bool:
        """Whether an operation is off the list."""
        try:
            if self._store is None:
                self._store = Store(self._settings, self._run_folder)
            self._store.apply(operation)
        except BadInput as error:
            _log.warning("not in MLflow: %s. %s", operation, error)
        except Exception as error:  # whatever MLflow, its database or its transport raise
            self._note_outage(error)
            return False
        self._down = False
        return True

    def _note_outage(self, error: Exception) -> None:
        if not self._down:
            _log.warning(
                "MLflow is out of reach (%s); the search goes on, and %s keeps what MLflow misses.",
                str(error).strip().partition("\n")[0][:300] or type(error).__name__,
                self._run_folder / SPOOL_FILE,
            )
        self._down = True
        self._retry_at = time.monotonic() + _RETRY_SECONDS
