"""The one interface behind which work gets done; knows nothing of what the work is."""

from __future__ import annotations

import enum
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from ..spaces.errors import BadInput, RunFailed
from .call import Reply, pack

Req = TypeVar("Req")
Res = TypeVar("Res")
Req_contra = TypeVar("Req_contra", contravariant=True)
Res_co = TypeVar("Res_co", covariant=True)


class Blueprint(Protocol[Req_contra, Res_co]):
    """Everything that a worker needs to become able to work; sent once, not with each task.

    It is picklable and holds large data as numpy arrays, which workers on one machine share
    without a copy (and so see read-only).
    """

    def build(self) -> Callable[[Req_contra], Res_co]:
        """Make the callable that performs requests; called once per worker process.

        The callable gives equal results for equal requests, whatever it was asked before.
        """
        ...


class Outcome(enum.StrEnum):
    """How a task ended. These are never mixed up."""

    DONE = "done"
    """The call returned."""
    FAILED = "failed"
    """The call raised. That is deterministic, so it is not tried again."""
    LOST = "lost"
    """The backend was closed before the task had ended."""
    QUARANTINED = "quarantined"
    """It took down as many workers as one task may; not tried again."""


@dataclass(frozen=True, slots=True)
class Completion(Generic[Res]):
    """One task that ended.

    Attributes:
        task: number that it was submitted under.
        outcome: how it ended.
        result: what the call returned; None unless DONE.
        error: traceback (FAILED) or reason (LOST, QUARANTINED); None if DONE.
        attempts: runs that came to an end, by a reply or by the death of their worker.
        worker: ``host:pid`` of the process that ran it last; empty if none did.
        seconds: duration of the last run; 0 if LOST.
    """

    task: int
    outcome: Outcome
    result: Res | None
    error: str | None
    attempts: int
    worker: str
    seconds: float


@dataclass(slots=True, eq=False)
class Task:
    """A task on its way through a backend.

    Attributes:
        number: the number that the caller gave.
        payload: the packed request.
        deaths: why each worker died that this task is blamed for.
        last_slot: slot of the last worker that died with this task aboard, blamed or not.
    """

    number: int
    payload: bytes
    deaths: list[str] = field(default_factory=list)
    last_slot: int | None = None

    @property
    def suspect(self) -> bool:
        """Whether a worker died with it aboard; a suspect runs alone on its worker."""
        return self.last_slot is not None


class Backend(ABC, Generic[Req, Res]):
    """Workers behind a bounded window of tasks in flight.

    Life cycle: create it -> `submit` tasks while `in_flight` is below `capacity` -> `wait` for
    some of them to end -> submit more -> ... -> `close` (or leave the ``with`` block). Workers are
    built from the blueprint on their own time: a blueprint that cannot be built is reported by
    `wait`. Each submitted task is handed out by `wait` exactly once, in any order; those that
    had not ended at `close` are handed out by the next `wait` as LOST. A closed backend takes
    no more tasks.

    Meant for one thread. Where KeyboardInterrupt left `wait`, `close` is what may follow.
    """

    def __init__(self, workers: int, capacity: int) -> None:
        if workers < 1 or capacity < 1:
            raise BadInput(f"got workers={workers}, capacity={capacity}; both must be at least 1")
        self._workers = workers
        self._capacity = capacity
        self._restarts = 0
        self._closed = False
        self._tasks: dict[int, Task] = {}
        self._finished: list[Completion[Res]] = []

    @property
    def workers(self) -> int:
        """Number of workers that were asked for."""
        return self._workers

    @property
    def capacity(self) -> int:
        """Most tasks that may be in flight."""
        return self._capacity

    @property
    def in_flight(self) -> int:
        """Tasks that were submitted and not yet handed out by `wait`."""
        return len(self._tasks) + len(self._finished)

    @property
    def restarts(self) -> int:
        """Worker deaths seen so far."""
        return self._restarts

    def submit(self, task: int, request: Req) -> None:
        """Take a request on under a number that no other task in flight has.

        Returns at once. Raises `BadInput` for a number that is taken or a request that is too
        large (64 KiB pickled) or cannot be pickled; `RunFailed` if the window is full or the
        backend closed.
        """
        if self._closed:
            raise RunFailed(f"task {task} was submitted to a closed backend; open a new one")
        if self.in_flight >= self._capacity:
            raise RunFailed(
                f"task {task} does not fit: {self.in_flight} tasks are in flight and the capacity "
                f"is {self._capacity}; wait() before submitting more"
            )
        if task in self._tasks or any(task == ended.task for ended in self._finished):
            raise BadInput(f"task {task} is in flight already; give each task its own number")
        accepted = Task(task, pack(task, request))
        self._tasks[task] = accepted
        self._accept(accepted)

    def wait(self, timeout: float | None = None) -> list[Completion[Res]]:
        """Hand out tasks that ended: at least one, unless `timeout` seconds pass before.

        Returns [] at once if nothing is in flight. Raises `RunFailed` if no work can be done
        at all: the blueprint cannot be built, or no worker comes up.
        """
        if self._tasks and not self._finished:
            self._work(timeout)
        ended, self._finished = self._finished, []
        return ended

    def close(self) -> None:
        """Stop all workers; tasks that have not ended become LOST. May be called again."""
        if self._closed:
            return
        self._closed = True
        for task in list(self._tasks.values()):
            self._end(task, Outcome.LOST, "the backend was closed before the task had ended")
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _accept(self, task: Task) -> None:
        """Take a new task over; must return at once."""

    @abstractmethod
    def _work(self, timeout: float | None) -> None:
        """Go on until at least one task has ended, or `timeout` seconds are over."""

    @abstractmethod
    def _stop(self) -> None:
        """Stop the workers for good; called once."""

    def _settle(self, task: Task, reply: Reply, worker: str) -> None:
        """Record the reply to a task: DONE or FAILED."""
        if reply.result is None:
            self._end(task, Outcome.FAILED, reply.error, worker, reply.seconds, replies=1)
            return
        result: Res = pickle.loads(reply.result)
        self._end(task, Outcome.DONE, None, worker, reply.seconds, replies=1, result=result)

    def _end(
        self,
        task: Task,
        outcome: Outcome,
        error: str | None,
        worker: str = "",
        seconds: float = 0.0,
        *,
        replies: int = 0,
        result: Res | None = None,
    ) -> None:
        """Move a task from those in flight to those that ended."""
        del self._tasks[task.number]
        attempts = len(task.deaths) + replies
        self._finished.append(
            Completion(task.number, outcome, result, error, attempts, worker, seconds)
        )
