"""Long-lived workers on Ray; a worker's death costs one attempt, never a task."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping

from ..spaces.errors import BadInput, RunFailed
from .backend import Backend, Blueprint, Outcome, Req, Res, Task
from .ray_session import RaySession
from .ray_slot import Slot
from .task_queue import TaskQueue
from .worker_environment import worker_environment

# After ray_session, which decides how Ray authenticates before Ray is imported.
import ray  # isort: skip
from ray.exceptions import RayError, RayTaskError  # isort: skip

MAX_FAILED_STARTS = 3
"""Workers of one slot that may die in a row while they start; then the slot is given up."""

logger = logging.getLogger(__name__)


class RayBackend(Backend[Req, Res]):
    """Runs tasks on `workers` actors that live as long as the backend.

    The blueprint is placed in the object store once; every worker builds it once. A worker that
    dies, or holds a task for longer than `call_timeout`, is replaced by a new one, and its task
    goes to another worker where one is up; a task that took down `max_attempts` workers is
    QUARANTINED. Blame is exact, see `TaskQueue`; only the death of an idle worker is noticed
    when the next task is sent to it, and costs that task an attempt.

    Args:
        blueprint: what the workers are built from.
        workers: number of actors.
        capacity: most tasks in flight; a small multiple of `workers`.
        max_attempts: deaths of workers after which a task is not tried again.
        address: ``"local"`` starts a Ray for this backend alone, ``"auto"`` or ``host:port``
            joins a running cluster. Ignored if the caller has initialised Ray.
        num_cpus: logical CPUs that each worker reserves.
        num_gpus: GPUs that each worker reserves.
        resources: custom resources that each worker reserves.
        call_timeout: seconds that a call may take; None: no limit.
        start_timeout: seconds after which it is an error that not one worker is up.
    """

    def __init__(
        self,
        blueprint: Blueprint[Req, Res],
        workers: int,
        capacity: int,
        *,
        max_attempts: int = 3,
        address: str = "local",
        num_cpus: float = 1,
        num_gpus: float = 0,
        resources: Mapping[str, float] | None = None,
        call_timeout: float | None = None,
        start_timeout: float = 300.0,
    ) -> None:
        super().__init__(workers, capacity)
        if max_attempts < 1:
            raise BadInput(f"got max_attempts={max_attempts}; it must be at least 1")
        custom = dict(resources or {})
        self._needs = {"CPU": num_cpus, "GPU": num_gpus, **custom}
        self._max_attempts = max_attempts
        self._call_timeout = call_timeout
        self._start_timeout = start_timeout
        # With one attempt only, there would be no second run that makes the blame exact.
        self._last_failed_start = ""
        self._queue = TaskQueue(send_ahead=max_attempts > 1)
        self._session = RaySession(
            address,
            cpus=math.ceil(workers * num_cpus),
            resources={name: workers * amount for name, amount in custom.items()},
        )
        options = {
            "num_cpus": num_cpus,
            "num_gpus": num_gpus,
            "resources": custom,
            "max_task_retries": 0,
            "runtime_env": {"env_vars": worker_environment()},
        }
        try:
            placed = ray.put(blueprint)
            self._slots = [Slot(number, placed, options) for number in range(workers)]
        except BaseException:
            self._session.close()
            raise

    def _accept(self, task: Task) -> None:
        self._queue.add(task)
        self._dispatch()

    def _work(self, timeout: float | None) -> None:
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not self._finished:
            self._check_hope()
            self._dispatch()
            self._poll(end)
            self._check_clocks()
            if time.monotonic() >= end:
                break
        self._dispatch()

    def _stop(self) -> None:
        self._queue.clear()
        if ray.is_initialized():
            for slot in self._slots:
                slot.kill()
        self._slots.clear()
        self._session.close()

    def _dispatch(self) -> None:
        """Fill the idle workers first, then send tasks ahead to the others."""
        up = [slot for slot in self._slots if slot.worker is not None]
        for slot in sorted(up, key=lambda slot: len(slot.aboard)):
            task = self._queue.take(slot.number, slot.aboard, slot.running_for, len(up) == 1)
            if task is not None:
                slot.send(task)

    def _poll(self, end: float) -> None:
        """Block until something is heard from a slot or a clock runs out, then hear all of them."""
        heard = {slot.awaited: slot for slot in self._slots if slot.awaited is not None}
        patience = min(end, *self._clocks()) - time.monotonic()
        block = None if patience == math.inf else max(0.0, patience)
        ready, waiting = ray.wait(list(heard), num_returns=1, timeout=block)
        if ready and waiting:
            ready += ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]
        for ref in ready:
            self._hear(heard[ref], ref)

    def _hear(self, slot: Slot, ref: ray.ObjectRef) -> None:
        """Take the answer of a slot: its worker is up, has replied, or is dead."""
        starting = slot.worker is None
        try:
            answer = ray.get(ref)
        except RayTaskError as error:
            if starting:
                raise RunFailed(f"the worker cannot be built:\n{error}") from error
            # `perform` turns exceptions into replies; this is one that it must let through.
            self._end(slot.replied(), Outcome.FAILED, str(error), slot.worker or "", replies=1)
        except RayError as error:
            self._bury(slot, f"{type(error).__name__}: {error}")
        else:
            if starting:
                slot.up(answer)
                return
            self._queue.saw(answer.seconds)
            self._settle(slot.replied(), answer, slot.worker or "")

    def _bury(self, slot: Slot, reason: str) -> None:
        """Replace a dead or overdue worker and see to its tasks; the running one is blamed."""
        self._restarts += 1
        worker, seconds, aboard = slot.worker, slot.running_for, slot.aboard
        headline = reason.partition("\n")[0]
        logger.warning("worker %s of slot %d is gone: %s", worker, slot.number, headline)
        if worker is None:
            self._count_failed_start(slot, reason)
            return
        slot.replace()
        self._queue.saw(seconds)
        if aboard:
            aboard[0].deaths.append(reason)
        for task in aboard:
            task.last_slot = slot.number
            if len(task.deaths) < self._max_attempts:
                self._queue.add(task)
                continue
            reasons = "\n".join(task.deaths)
            error = f"took down {len(task.deaths)} workers, not tried again:\n{reasons}"
            self._end(task, Outcome.QUARANTINED, error, worker, seconds)

    def _count_failed_start(self, slot: Slot, reason: str) -> None:
        slot.failed_starts += 1
        if slot.failed_starts < MAX_FAILED_STARTS:
            slot.replace()
            return
        logger.error("slot %d is given up: %d starts failed", slot.number, slot.failed_starts)
        slot.kill()
        self._slots.remove(slot)
        self._last_failed_start = reason

    def _clocks(self) -> list[float]:
        """Times (monotonic) at which something happens although nothing is heard."""
        clocks = [math.inf]
        if self._call_timeout is not None:
            clocks += [slot.since + self._call_timeout for slot in self._slots if slot.aboard]
        if all(slot.worker is None for slot in self._slots):
            clocks.append(max(slot.since for slot in self._slots) + self._start_timeout)
        return clocks

    def _check_clocks(self) -> None:
        """Bury workers that are overdue."""
        limit = self._call_timeout
        if limit is None:
            return
        for slot in self._slots:
            if slot.aboard and slot.running_for >= limit:
                self._bury(slot, f"the call took longer than {limit:g} s")

    def _check_hope(self) -> None:
        """Raise `RunFailed` if no worker is up and none will be."""
        if not self._slots:
            raise RunFailed(
                f"every worker died while it was built, {MAX_FAILED_STARTS} times in a row; most "
                f"often the memory is too small. The last one: {self._last_failed_start}"
            )
        if any(slot.worker is not None for slot in self._slots):
            return
        if min(slot.running_for for slot in self._slots) >= self._start_timeout:
            raise RunFailed(
                f"no worker came up within {self._start_timeout:g} s. Each one asks for "
                f"{self._needs}; the cluster has {ray.cluster_resources()}."
            )
