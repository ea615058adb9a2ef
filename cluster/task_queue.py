"""Which task a worker gets next. The policy alone: no processes, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .backend import Task

SHORT = 0.1
"""Seconds below which a call is short: then the 1-3 ms between reply and next task count."""

RECENT = 16
"""How many calls in a row must have been short before tasks are sent ahead."""


class TaskQueue:
    """Tasks that wait for a worker, and the rules by which they get one.

    A worker runs one task at a time. While calls are short, a second task is sent ahead, so that
    the worker need not wait for us; while some are long it is not, because the second task
    would be stuck behind the first one while other workers are free.

    When a worker dies with two tasks aboard, nobody can tell for certain which one was running
    (the reply to the first may have died with the worker). The first one is blamed, and **both**
    become suspects: from then on they run alone, so every later blame is exact and no innocent
    task can be quarantined. A suspect goes to another slot than the one it last died on, if
    another one is up.
    """

    def __init__(self, send_ahead: bool) -> None:
        self._send_ahead = send_ahead
        self._fresh: deque[Task] = deque()
        self._suspects: list[Task] = []
        self._recent: deque[float] = deque(maxlen=RECENT)

    def add(self, task: Task) -> None:
        """Queue a task at the end; a suspect goes before all that are not."""
        if task.suspect:
            self._suspects.append(task)
        else:
            self._fresh.append(task)

    def saw(self, seconds: float) -> None:
        """Learn how long a call took."""
        self._recent.append(seconds)

    def take(
        self, slot: int, aboard: Sequence[Task], running_for: float, only_one_up: bool
    ) -> Task | None:
        """Next task for the worker of a slot, or None for now.

        Args:
            slot: number of the slot.
            aboard: tasks that the worker has, the running one first.
            running_for: seconds since the running one began.
            only_one_up: whether no other slot has a worker.
        """
        suspect = self._suspect_for(slot, only_one_up)
        if not aboard:
            if suspect is not None:
                self._suspects.remove(suspect)
                return suspect
            return self._fresh.popleft() if self._fresh else None
        # A suspect that may come here needs an empty worker: let this one run dry.
        if suspect is not None or not self._fresh or not self._may_send_ahead(aboard, running_for):
            return None
        return self._fresh.popleft()

    def clear(self) -> None:
        """Forget all tasks."""
        self._fresh.clear()
        self._suspects.clear()

    def _suspect_for(self, slot: int, only_one_up: bool) -> Task | None:
        for task in self._suspects:
            if only_one_up or task.last_slot != slot:
                return task
        return None

    def _may_send_ahead(self, aboard: Sequence[Task], running_for: float) -> bool:
        if not self._send_ahead or len(aboard) > 1 or aboard[0].suspect or running_for >= SHORT:
            return False
        return len(self._recent) == RECENT and max(self._recent) < SHORT
