"""The simplest backend: the work is done in this process, one task per `wait`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..spaces.errors import RunFailed
from .backend import Backend, Blueprint, Req, Res, Task
from .call import perform, worker_name


class InProcessBackend(Backend[Req, Res]):
    """Runs tasks lazily in the caller's own process, in the order of submission.

    `wait` runs one task to its end, however long that takes: a timeout cannot interrupt it.
    Requests and results cross as bytes, as they do between processes, so that nothing is
    shared with the caller by accident.
    """

    def __init__(self, blueprint: Blueprint[Req, Res], capacity: int = 1) -> None:
        super().__init__(workers=1, capacity=capacity)
        self._blueprint = blueprint
        self._call: Callable[[Req], Res] | None = None
        self._queue: deque[Task] = deque()

    def _accept(self, task: Task) -> None:
        self._queue.append(task)

    def _work(self, timeout: float | None) -> None:
        call = self._built()
        reply = perform(call, self._queue[0].payload)
        # Only now: an interrupted task stays the first of the queue.
        self._settle(self._queue.popleft(), reply, worker_name())

    def _stop(self) -> None:
        self._queue.clear()
        self._call = None

    def _built(self) -> Callable[[Req], Res]:
        if self._call is not None:
            return self._call
        try:
            self._call = self._blueprint.build()
        except Exception as error:
            raise RunFailed(f"the worker cannot be built: {error!r}") from error
        return self._call
