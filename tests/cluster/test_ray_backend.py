from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefront.cluster.backend import Outcome
from spikefront.cluster.conformance import (
    CAPACITY,
    BackendConformance,
    drain,
    exercise,
    run_all,
)
from spikefront.cluster.ray_backend import MAX_FAILED_STARTS, RayBackend
from spikefront.cluster.ray_session import RaySession
from spikefront.cluster.worker_environment import worker_environment
from spikefront.spaces.errors import BadInput, RunFailed

import ray  # isort: skip
from ray import cloudpickle  # isort: skip

PATIENCE = 60.0
"""Seconds after which an event that must come is taken for missing; no test passes by it."""


@pytest.fixture(scope="module", autouse=True)
def shared_ray():
    # Workers cannot import this file by name: its classes travel by value.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    session = RaySession("local", cpus=8, resources={})
    yield
    session.close()


@dataclass
class Hazards:
    """Blueprint of a worker that can be made to die, to hold, and to tell about itself."""

    folder: Path
    weights: Any = None

    def build(self):
        (self.folder / f"built-{os.getpid()}").touch(exist_ok=False)
        return lambda request: getattr(self, request[0])(*request[1:])

    def echo(self, value):
        return value

    def die(self):
        os._exit(1)

    def die_once(self):
        if self.first("died"):
            os._exit(1)
        return "survived"

    def exhaust_memory(self):
        raise MemoryError("no room for the candidate")

    def leave(self):
        raise SystemExit(3)

    def hold_once(self):
        """The first time: never return. The test knows the worker from the file."""
        if self.first("held"):
            while True:
                time.sleep(0.05)
        return "released"

    def environment(self):
        """What the process was started with: glibc and OpenMP look at nothing else."""
        entries = Path("/proc/self/environ").read_text().split("\0")
        return dict(entry.split("=", 1) for entry in entries if entry)

    def shares_weights(self):
        return not self.weights.flags.writeable and float(self.weights.sum())

    def first(self, what) -> bool:
        flag = self.folder / what
        if flag.exists():
            return False
        partial = flag.with_suffix(".partial")
        partial.write_text(str(os.getpid()))
        partial.rename(flag)
        return True


class Doomed:
    """Blueprint that takes its worker down while it is built."""

    def build(self):
        os._exit(1)


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the awaited event did not come"
        time.sleep(0.02)


def builds(folder: Path) -> int:
    return len(list(folder.glob("built-*")))


@pytest.fixture(scope="module")
def shared_backend(shared_ray):
    with RayBackend(exercise(), workers=2, capacity=CAPACITY) as backend:
        yield backend
        assert backend.restarts == 0


class TestRayConformance(BackendConformance):
    @pytest.fixture
    def backend(self, shared_backend):
        yield shared_backend
        drain(shared_backend)

    @pytest.fixture
    def open_backend(self, shared_ray):
        return lambda blueprint: RayBackend(blueprint, workers=1, capacity=CAPACITY)


def test_wait_gives_nothing_once_the_timeout_is_over(tmp_path):
    with RayBackend(Hazards(tmp_path), workers=1, capacity=1) as backend:
        backend.submit(0, ("hold_once",))
        assert backend.wait(timeout=0) == []
        while not (tmp_path / "held").exists():
            assert backend.wait(timeout=0.05) == []
        assert backend.in_flight == 1
    assert ray.is_initialized(), "a Ray of the caller stays up"


def test_the_blueprint_is_built_once_per_worker_and_arrays_are_shared(tmp_path):
    weights = np.ones(300_000)
    with RayBackend(Hazards(tmp_path, weights), workers=2, capacity=8) as backend:
        backend.submit(0, ("shares_weights",))
        until(lambda: builds(tmp_path) == 2)
        requests = [(task, ("shares_weights",)) for task in range(1, 20)]
        ended = drain(backend) + run_all(backend, requests)
        assert {each.result for each in ended} == {300_000.0}
        assert builds(tmp_path) == 2

        (survivor,) = run_all(backend, [(20, ("die_once",))])
        until(lambda: builds(tmp_path) == 3)
        run_all(backend, [(task, ("echo", task)) for task in range(21, 30)])
        assert (survivor.result, backend.restarts, builds(tmp_path)) == ("survived", 1, 3)


def test_workers_start_with_one_thread_and_keep_their_memory(tmp_path, monkeypatch):
    for name in worker_environment():
        monkeypatch.delenv(name, raising=False)
    with RayBackend(Hazards(tmp_path), workers=1, capacity=1) as backend:
        (ended,) = run_all(backend, [(0, ("environment",))])
    wanted = worker_environment()
    assert wanted["OMP_NUM_THREADS"] == "1"
    assert ended.result is not None
    assert {name: ended.result.get(name) for name in wanted} == wanted


def test_the_task_of_a_worker_that_died_is_done_by_another(tmp_path):
    with RayBackend(Hazards(tmp_path), workers=2, capacity=4) as backend:
        requests = [(0, ("die_once",)), (1, ("echo", 1)), (2, ("echo", 2)), (3, ("echo", 3))]
        ended = {each.task: each for each in run_all(backend, requests)}
        assert backend.restarts == 1
    assert {each.outcome for each in ended.values()} == {Outcome.DONE}
    assert (ended[0].result, ended[0].attempts) == ("survived", 2)
    assert [ended[task].attempts for task in (1, 2, 3)] == [1, 1, 1]
    assert ended[0].worker.rpartition(":")[2] != (tmp_path / "died").read_text()


def test_a_deadly_task_is_quarantined_and_takes_nobody_along(tmp_path):
    """Short calls are sent ahead, so that others are aboard when their worker dies."""
    with RayBackend(Hazards(tmp_path), workers=2, capacity=8) as backend:
        requests: list[tuple[int, Any]] = [(task, ("echo", task)) for task in range(120)]
        requests[60] = (60, ("die",))
        ended = {each.task: each for each in run_all(backend, requests)}
        # A fourth where a reply died with the worker: then its task was blamed once in error.
        assert backend.restarts in (3, 4)
    culprit = ended.pop(60)
    assert (culprit.outcome, culprit.attempts) == (Outcome.QUARANTINED, 3)
    assert "ActorDiedError" in str(culprit.error)
    assert "took down 3 workers" in str(culprit.error)
    assert {task: each.result for task, each in ended.items()} == {
        task: task for task in range(120) if task != 60
    }
    assert max(each.attempts for each in ended.values()) <= 2


def test_failing_is_not_dying(tmp_path):
    with RayBackend(Hazards(tmp_path), workers=1, capacity=2, max_attempts=1) as backend:
        failed, left = run_all(backend, [(0, ("exhaust_memory",)), (1, ("leave",))])
    assert (failed.outcome, failed.attempts) == (Outcome.FAILED, 1)
    assert "MemoryError: no room" in str(failed.error)
    assert (left.outcome, left.attempts) == (Outcome.QUARANTINED, 1)


def test_a_task_beyond_its_time_is_taken_away_and_done_again(tmp_path):
    with RayBackend(Hazards(tmp_path), workers=2, capacity=2, call_timeout=1.5) as backend:
        ended = {each.task: each for each in run_all(backend, [(0, ("hold_once",))])}
        assert backend.restarts >= 1
    assert (ended[0].result, ended[0].attempts) == ("released", 2)


def test_a_task_that_never_ends_is_quarantined_with_the_reason(tmp_path):
    with RayBackend(
        Hazards(tmp_path), workers=1, capacity=1, call_timeout=0.3, max_attempts=1
    ) as backend:
        (ended,) = run_all(backend, [(0, ("hold_once",))])
    assert ended.outcome is Outcome.QUARANTINED
    assert "longer than 0.3 s" in str(ended.error)


def test_a_worker_killed_from_outside_costs_no_task(tmp_path):
    with RayBackend(Hazards(tmp_path), workers=2, capacity=4) as backend:
        for task in range(4):
            backend.submit(task, ("hold_once",) if task == 0 else ("echo", task))
        early = []
        while not (tmp_path / "held").exists():
            early += backend.wait(timeout=0.05)
        os.kill(int((tmp_path / "held").read_text()), signal.SIGKILL)
        ended = {each.task: each for each in early + drain(backend)}
        assert backend.restarts == 1
    assert {task: each.result for task, each in ended.items()} == {0: "released", 1: 1, 2: 2, 3: 3}
    assert ended[0].attempts == 2


def test_repeated_kills_lose_nothing_and_repeat_nothing(tmp_path):
    kills = 4
    with RayBackend(Hazards(tmp_path), workers=3, capacity=12, max_attempts=kills + 1) as backend:
        ended = []
        for task in range(240):
            while backend.in_flight == backend.capacity:
                ended += backend.wait()
            if task % 60 == 59:
                os.kill(int(ended[-1].worker.rpartition(":")[2]), signal.SIGKILL)
            backend.submit(task, ("echo", task))
        ended += drain(backend)
    assert sorted(each.task for each in ended) == list(range(240))
    assert all(each.result == each.task for each in ended)


def test_workers_that_die_while_built_end_the_run():
    with RayBackend(Doomed(), workers=1, capacity=1) as backend:
        backend.submit(0, "anything")
        for _ in range(2):
            with pytest.raises(RunFailed, match="died while it was built"):
                backend.wait()
        assert backend.restarts == MAX_FAILED_STARTS


def test_a_cluster_without_room_is_reported():
    with RayBackend(
        exercise(), workers=1, capacity=1, resources={"nowhere": 1}, start_timeout=0.2
    ) as backend:
        backend.submit(0, ("sum", 0))
        with pytest.raises(RunFailed, match=r"no worker came up.*nowhere"):
            backend.wait()


def test_no_attempt_at_all_is_refused():
    with pytest.raises(BadInput, match="max_attempts"):
        RayBackend(exercise(), workers=1, capacity=1, max_attempts=0)


DRIVER = """
import os
import ray
from pathlib import Path
from spikefront.cluster.conformance import exercise, run_all
from spikefront.cluster.ray_backend import RayBackend

class Naps:
    def build(self):
        import time
        return lambda seconds: time.sleep(seconds) if seconds else os._exit(1)

def main():
    with RayBackend(exercise(), workers=1, capacity=1) as ours:
        (ended,) = run_all(ours, [(0, ("sum", 0))])
        print("sum", ended.result, flush=True)
        print("head", ray.get_runtime_context().gcs_address.split(":")[0], flush=True)
        guest = RayBackend(Naps(), workers=1, capacity=1, num_cpus=0, max_attempts=1)
        run_all(guest, [(0, 0)])
        run_all(guest, [(1, 0.01)])
        guest.submit(2, 600)
        try:
            print("napping", flush=True)
            guest.wait()
        except KeyboardInterrupt:
            guest.close()
            print([ended.outcome.value for ended in guest.wait()], ray.is_initialized())
    print("up", ray.is_initialized())
    raise SystemExit(130)

main()
"""


def test_a_console_script_owns_its_ray_and_can_be_interrupted(tmp_path):
    """From a foreign directory, as an installed command is; Ctrl-C reaches the whole group.

    Its stdout stays its own, although a worker dies.
    """
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "command"
    script.write_text(DRIVER)
    environment = {name: value for name, value in os.environ.items() if "RAY" not in name}
    driver = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run in the background, SIGINT is ignored, and children inherit that.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert driver.stdout is not None
    try:
        said = [driver.stdout.readline().strip() for _ in range(3)]
        assert said == ["sum 10.0", "head 127.0.0.1", "napping"]
        os.killpg(driver.pid, signal.SIGINT)
        rest, errors = driver.communicate(timeout=PATIENCE)
    finally:
        driver.kill()
    assert rest.splitlines() == ["['lost'] True", "up False"]
    assert driver.returncode == 130
    (logged,) = errors.splitlines()
    assert "of slot 0 is gone: ActorDiedError" in logged
