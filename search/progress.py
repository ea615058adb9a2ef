"""Live progress: how fast, how strict the gate, how good the best so far, how long still."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TextIO

from ..evaluators.evaluation import Evaluation, State
from .controller import Budget, Counts
from .front import Front

_REFRESH_SECONDS = 0.5
_PLAIN_SECONDS = 10.0
_RECENT = 64
"""Commits that the rate is measured over."""


class Progress:
    """Writes one status line per refresh: in place on a terminal, now and then elsewhere."""

    def __init__(
        self, budget: Budget, counts: Counts, front: Front, stream: TextIO | None = None
    ) -> None:
        self._budget = budget
        self._counts = counts
        self._front = front
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._times: deque[float] = deque(maxlen=_RECENT)
        self._shown = 0.0

    def committed(self, evaluation: Evaluation, hit: bool) -> None:
        """Take a commit in and refresh the line if it is time."""
        now = time.monotonic()
        if not hit and evaluation.state is not State.PROBED:
            self._times.append(now)
        if now - self._shown >= (_REFRESH_SECONDS if self._live else _PLAIN_SECONDS):
            self._shown = now
            self._write(self.line())

    def finish(self) -> None:
        """Write the last line."""
        self._write(self.line(), end="\n")

    def line(self) -> str:
        """The status as text."""
        counts, total = self._counts, self._budget.candidates
        done, probes = counts.candidates, counts.by_state[State.PROBED]
        rejected = counts.by_state[State.REJECTED]
        stages = ", ".join(f"{n} by {s.value}" for s, n in counts.rejected_by.items() if n)
        best = "none feasible yet"
        if self._front:
            measures = self._front.smallest().measures
            best = f"best {measures['bytes_ratio']:.1%} of bytes at {measures['accuracy']:.2%}"
        return (
            f"{done}/{total} candidates{f' and {probes} probes' if probes else ''}, "
            f"{self._rate():.1f}/s, "
            f"rejected {rejected / max(done, 1):.0%}{f' ({stages})' if stages else ''}, "
            f"{best}, ETA {self._eta(total - done)}"
        )

    def _rate(self) -> float:
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(self._times[-1] - self._times[0], 1e-9)

    def _eta(self, left: int) -> str:
        rate = self._rate()
        if left > 0 and rate == 0:
            return "unknown"
        minutes, seconds = divmod(round(left / rate) if left > 0 else 0, 60)
        return f"{minutes}:{seconds:02d}"

    def _write(self, line: str, end: str = "") -> None:
        lead = "\r\x1b[K" if self._live else ""
        self._stream.write(lead + line + (end if self._live else "\n"))
        self._stream.flush()
