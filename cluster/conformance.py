"""What every backend must do, as tests: subclass `BackendConformance` and give two fixtures.

This module imports no test framework. Each method named ``test_…`` takes one of the fixtures
by name:

* ``backend``: a `Backend` over `Exercise`, of `CAPACITY`, with nothing in flight. It may be
  shared between tests.
* ``open_backend``: a callable that makes a new backend of `CAPACITY` over a given blueprint. The
  tests close what they open.
"""

# ruff: noqa: D102  (the names of the tests say what they show)

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..spaces.errors import BadInput, RunFailed, SpikefrontError
from .backend import Backend, Blueprint, Completion, Outcome
from .call import MAX_PAYLOAD

CAPACITY = 8
"""Capacity of the backends that the tests are given."""

OpenBackend = Callable[[Blueprint[Any, Any]], Backend[Any, Any]]


@dataclass(frozen=True)
class Exercise:
    """Blueprint of a worker that adds, echoes, changes what it got, and raises.

    A request is a tuple: the name of the operation, then its arguments.
    """

    weights: np.ndarray

    def build(self) -> Callable[[tuple[Any, ...]], Any]:
        """A callable over the operations below."""
        operations: dict[str, Callable[..., Any]] = {
            "sum": lambda number: float(self.weights.sum()) + number,
            "echo": lambda value: value,
            "append": _append,
            "raise": _fail,
            "unpicklable": threading.Lock,
        }
        return lambda request: operations[request[0]](*request[1:])


class Unbuildable:
    """Blueprint that raises when it is built."""

    def build(self) -> Callable[[Any], Any]:
        """Raises `ValueError`."""
        raise ValueError("the plan has a hole")


def exercise() -> Exercise:
    """The blueprint behind the ``backend`` fixture; its weights sum up to 10."""
    return Exercise(np.arange(5, dtype=np.float64))


def drain(backend: Backend[Any, Any]) -> list[Completion[Any]]:
    """Wait until nothing is in flight; all completions in the order of arrival."""
    completions: list[Completion[Any]] = []
    while backend.in_flight:
        completions += backend.wait()
    return completions


def run_all(
    backend: Backend[Any, Any], requests: Iterable[tuple[int, Any]]
) -> list[Completion[Any]]:
    """Submit all (task, request) within the window and wait for all."""
    completions: list[Completion[Any]] = []
    for task, request in requests:
        while backend.in_flight >= backend.capacity:
            completions += backend.wait()
        backend.submit(task, request)
    return completions + drain(backend)


class BackendConformance:
    """The suite. The order of completions is left open; what they say is not."""

    def test_each_task_is_handed_out_once_with_its_own_result(self, backend: Backend) -> None:
        completions = run_all(backend, ((task, ("sum", task)) for task in range(50)))
        assert sorted(ended.task for ended in completions) == list(range(50))
        assert {ended.task: ended.result for ended in completions} == {
            task: 10.0 + task for task in range(50)
        }

    def test_a_done_task_tells_where_and_how_long(self, backend: Backend) -> None:
        (ended,) = run_all(backend, [(7, ("sum", 1))])
        assert (ended.outcome, ended.error, ended.attempts) == (Outcome.DONE, None, 1)
        host, _, pid = ended.worker.rpartition(":")
        assert host
        assert pid.isdigit()
        assert ended.seconds > 0.0

    def test_in_flight_counts_what_was_not_handed_out(self, backend: Backend) -> None:
        for task in range(3):
            backend.submit(task, ("sum", task))
        assert backend.in_flight == 3
        handed_out = len(backend.wait())
        assert handed_out >= 1
        assert backend.in_flight == 3 - handed_out
        drain(backend)

    def test_capacity_is_enforced(self, backend: Backend) -> None:
        assert backend.capacity == CAPACITY
        for task in range(CAPACITY):
            backend.submit(task, ("sum", task))
        error = _raised(lambda: backend.submit(CAPACITY, ("sum", 0)))
        assert isinstance(error, RunFailed)
        assert str(CAPACITY) in str(error)
        assert len(drain(backend)) == CAPACITY

    def test_a_number_in_flight_is_refused(self, backend: Backend) -> None:
        backend.submit(3, ("sum", 0))
        assert isinstance(_raised(lambda: backend.submit(3, ("sum", 1))), BadInput)
        (ended,) = drain(backend)
        assert ended.result == 10.0

    def test_a_raising_call_fails_alone(self, backend: Backend) -> None:
        requests = [(0, ("sum", 0)), (1, ("raise", "no such site")), (2, ("sum", 2))]
        ended = {each.task: each for each in run_all(backend, requests)}
        assert ended[1].outcome is Outcome.FAILED
        assert ended[1].result is None
        assert ended[1].attempts == 1
        assert "ValueError: no such site" in str(ended[1].error)
        assert "in _fail" in str(ended[1].error), "the traceback must name where it was raised"
        assert ended[0].outcome is ended[2].outcome is Outcome.DONE

    def test_a_result_that_cannot_be_sent_fails(self, backend: Backend) -> None:
        (ended,) = run_all(backend, [(0, ("unpicklable",))])
        assert ended.outcome is Outcome.FAILED
        assert "lock" in str(ended.error)

    def test_nothing_in_flight_gives_nothing(self, backend: Backend) -> None:
        assert backend.in_flight == 0
        assert backend.wait() == []

    def test_a_request_arrives_unchanged_and_is_not_shared(self, backend: Backend) -> None:
        value = {"axes": [1, 2.5, None, "x"], "nested": {"deep": (True, b"\x00")}}
        (echoed,) = run_all(backend, [(0, ("echo", value))])
        assert echoed.result == value
        mine = [1]
        (changed,) = run_all(backend, [(0, ("append", mine))])
        assert changed.result == [1, "changed"]
        assert mine == [1]

    def test_equal_requests_give_equal_results(self, backend: Backend) -> None:
        completions = run_all(backend, ((task, ("sum", 0.1)) for task in range(6)))
        assert {ended.result for ended in completions} == {10.1}

    def test_too_large_a_request_is_refused(self, backend: Backend) -> None:
        error = _raised(lambda: backend.submit(0, ("echo", b"x" * MAX_PAYLOAD)))
        assert isinstance(error, BadInput)
        assert "65,536" in str(error)
        assert backend.in_flight == 0

    def test_an_unpicklable_request_is_refused(self, backend: Backend) -> None:
        assert isinstance(_raised(lambda: backend.submit(0, ("echo", threading.Lock()))), BadInput)
        assert backend.in_flight == 0

    def test_close_hands_out_the_rest_as_lost(self, open_backend: OpenBackend) -> None:
        backend = open_backend(exercise())
        for task in range(CAPACITY):
            backend.submit(task, ("sum", task))
        ended = backend.wait()
        backend.close()
        backend.close()
        rest = backend.wait()
        assert {each.outcome for each in rest} == {Outcome.LOST}
        assert sorted(each.task for each in ended + rest) == list(range(CAPACITY))
        assert backend.wait() == []
        assert isinstance(_raised(lambda: backend.submit(99, ("sum", 0))), RunFailed)

    def test_a_blueprint_that_cannot_be_built_is_reported(self, open_backend: OpenBackend) -> None:
        with open_backend(Unbuildable()) as backend:
            backend.submit(0, ("sum", 0))
            error = _raised(backend.wait)
            assert isinstance(error, RunFailed)
            assert "the plan has a hole" in str(error)


def _append(values: list[Any]) -> list[Any]:
    values.append("changed")
    return values


def _fail(message: str) -> None:
    raise ValueError(message)


def _raised(action: Callable[[], object]) -> SpikefrontError:
    """The project's error that an action raises; it must raise one."""
    try:
        action()
    except SpikefrontError as error:
        return error
    raise AssertionError("nothing was raised")
