"""Metrics of a running search, handed on in batches by a thread of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from .limits import MAX_METRICS, clean_metrics

Point = tuple[str, float, int, int]
"""Name, value, time in milliseconds, step."""

_INTERVAL_SECONDS = 2.0


class ProgressBuffer:
    """Takes metrics at any rate and sends at most one batch every 2 s.

    Sending happens in a thread, so that a slow server does not hold up the search. Where more
    than 1,000 values come in between two batches, every second step is left out; the newest one
    is kept.
    """

    def __init__(self, send: Callable[[list[Point]], None]) -> None:
        self._send = send
        self._steps: list[list[Point]] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start sending, unless that is so already."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="mlflow-progress", daemon=True)
            self._thread.start()

    def add(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Add the metrics of one step; unknown ones (None, NaN) are left out."""
        now = int(time.time() * 1000)
        points = [(name, value, now, step) for name, value in clean_metrics(metrics).items()]
        with self._lock:
            self._steps.append(points)
            if sum(map(len, self._steps)) > MAX_METRICS:
                self._steps = self._steps[::-2][::-1]

    def stop(self) -> None:
        """End the thread and send what is left."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._flush()

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_SECONDS):
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            steps, self._steps = self._steps, []
        points = [point for step in steps for point in step]
        if points:
            self._send(points)
