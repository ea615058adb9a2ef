"""One place of the cluster where a worker lives; when its worker dies, a new one moves in."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ray

from .backend import Blueprint, Task
from .call import Reply, perform, worker_name


class Worker:
    """The actor: builds the blueprint once, then performs one call at a time."""

    def __init__(self) -> None:
        self._call: Callable[[Any], Any] | None = None

    def start(self, blueprint: Blueprint[Any, Any]) -> str:
        """Build; gives the worker's name. No part of __init__: its traceback would be lost."""
        self._call = blueprint.build()
        return worker_name()

    def perform(self, payload: bytes) -> Reply:
        """Run one packed request."""
        assert self._call is not None
        return perform(self._call, payload)


_Actor = ray.remote(Worker)


class _Sent(NamedTuple):
    task: Task
    ref: Any


class Slot:
    """A worker and the calls that it has, the running one first.

    Attributes:
        number: place of the slot, from 0.
        worker: ``host:pid`` once it is up, None while it starts.
        since: `time.monotonic` when the present start or the running call began.
        failed_starts: workers in a row that died before they were up.
    """

    def __init__(self, number: int, blueprint: Any, options: Mapping[str, Any]) -> None:
        self.number = number
        self.failed_starts = 0
        self._blueprint = blueprint
        self._options = options
        self._sent: deque[_Sent] = deque()
        self._start()

    @property
    def awaited(self) -> Any:
        """Reference of the start or the running call; None if idle."""
        if self.worker is None:
            return self._starting
        return self._sent[0].ref if self._sent else None

    @property
    def aboard(self) -> list[Task]:
        """Tasks that the worker has, the running one first."""
        return [sent.task for sent in self._sent]

    @property
    def running_for(self) -> float:
        """Seconds since the present start or the running call began."""
        return time.monotonic() - self.since

    def up(self, worker: str) -> None:
        """The worker has told its name and may get tasks."""
        self.worker = worker
        self.failed_starts = 0

    def send(self, task: Task) -> None:
        """Give the worker a task to run after those that it has."""
        if not self._sent:
            self.since = time.monotonic()
        self._sent.append(_Sent(task, self._actor.perform.remote(task.payload)))

    def replied(self) -> Task:
        """Drop the running call, which has ended; the next one runs from now on."""
        self.since = time.monotonic()
        return self._sent.popleft().task

    def replace(self) -> None:
        """Kill the worker, whatever it does, and start another; its tasks are dropped."""
        self.kill()
        self._sent.clear()
        self._start()

    def kill(self) -> None:
        """Kill the worker for good."""
        ray.kill(self._actor, no_restart=True)

    def _start(self) -> None:
        self.worker: str | None = None
        self.since = time.monotonic()
        # Ray itself neither restarts nor repeats. It would restart a worker that dies in its
        # build for ever, and calls "unavailable" a worker that may still be running the call.
        self._actor: Any = _Actor.options(max_restarts=0, **self._options).remote()
        self._starting = self._actor.start.remote(self._blueprint)
