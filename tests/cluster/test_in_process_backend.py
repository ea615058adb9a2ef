from __future__ import annotations

import pytest

from spikefront.cluster.backend import Backend, Outcome
from spikefront.cluster.conformance import (
    CAPACITY,
    BackendConformance,
    Exercise,
    drain,
    exercise,
)
from spikefront.cluster.in_process import InProcessBackend
from spikefront.spaces.errors import BadInput


class TestInProcessConformance(BackendConformance):
    @pytest.fixture
    def open_backend(self):
        return lambda blueprint: InProcessBackend(blueprint, CAPACITY)

    @pytest.fixture
    def backend(self, open_backend):
        with open_backend(exercise()) as backend:
            yield backend


class Interrupted:
    """Raises KeyboardInterrupt the first time, as Ctrl-C during a call does."""

    def build(self):
        calls = []

        def call(request):
            calls.append(request)
            if len(calls) == 1:
                raise KeyboardInterrupt
            return request

        return call


def test_each_wait_runs_one_task_in_the_order_of_submission():
    with InProcessBackend(exercise(), capacity=3) as backend:
        for task in (5, 3, 4):
            backend.submit(task, ("sum", task))
        assert [[ended.task for ended in backend.wait()] for _ in range(3)] == [[5], [3], [4]]


def test_an_interrupt_leaves_the_task_in_flight():
    with InProcessBackend(Interrupted(), capacity=1) as backend:
        backend.submit(0, "again")
        with pytest.raises(KeyboardInterrupt):
            backend.wait()
        assert backend.in_flight == 1
        (ended,) = drain(backend)
    assert (ended.outcome, ended.result) == (Outcome.DONE, "again")


def test_built_once_and_only_when_needed():
    built = []

    class Counting(Exercise):
        def build(self):
            built.append(1)
            return super().build()

    with InProcessBackend(Counting(exercise().weights), capacity=2) as backend:
        assert built == []
        backend.submit(0, ("sum", 0))
        backend.submit(1, ("sum", 1))
        drain(backend)
    assert built == [1]


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_window_of_nothing_is_refused(capacity):
    with pytest.raises(BadInput, match="at least 1"):
        InProcessBackend(exercise(), capacity=capacity)


def test_a_backend_needs_its_three_hooks():
    with pytest.raises(TypeError, match="abstract"):
        Backend(1, 1)  # pyright: ignore[reportAbstractUsage]
