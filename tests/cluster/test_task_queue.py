from __future__ import annotations

from spikefront.cluster.backend import Task
from spikefront.cluster.task_queue import RECENT, SHORT, TaskQueue


def task(number: int, last_slot: int | None = None) -> Task:
    return Task(number, b"", last_slot=last_slot)


def queue_of(*tasks: Task, short: bool = False, send_ahead: bool = True) -> TaskQueue:
    queue = TaskQueue(send_ahead)
    for each in tasks:
        queue.add(each)
    for _ in range(RECENT if short else 0):
        queue.saw(SHORT / 2)
    return queue


def take(queue: TaskQueue, slot=0, aboard=(), running_for=0.0, only_one_up=False) -> int | None:
    taken = queue.take(slot, list(aboard), running_for, only_one_up)
    return None if taken is None else taken.number


def test_fresh_tasks_leave_in_order():
    queue = queue_of(task(2), task(1))
    assert [take(queue), take(queue), take(queue)] == [2, 1, None]


def test_nothing_is_sent_ahead_before_calls_are_known_to_be_short():
    queue = queue_of(task(1))
    for _ in range(RECENT - 1):
        queue.saw(SHORT / 2)
    assert take(queue, aboard=[task(0)]) is None
    queue.saw(SHORT / 2)
    assert take(queue, aboard=[task(0)]) == 1


def test_one_task_is_sent_ahead_never_two():
    queue = queue_of(task(2), short=True)
    assert take(queue, aboard=[task(0), task(1)]) is None


def test_one_long_call_stops_sending_ahead():
    queue = queue_of(task(1), short=True)
    queue.saw(SHORT)
    assert take(queue, aboard=[task(0)]) is None


def test_nothing_is_sent_behind_a_call_that_runs_long_already():
    queue = queue_of(task(1), short=True)
    assert take(queue, aboard=[task(0)], running_for=SHORT) is None


def test_sending_ahead_can_be_forbidden():
    queue = queue_of(task(1), short=True, send_ahead=False)
    assert take(queue, aboard=[task(0)]) is None


def test_a_suspect_goes_first_and_to_another_slot():
    queue = queue_of(task(1), task(9, last_slot=0))
    assert take(queue, slot=0) == 1, "slot 0 is where it died"
    assert take(queue, slot=1) == 9


def test_a_suspect_returns_to_its_slot_where_no_other_is_up():
    queue = queue_of(task(9, last_slot=0))
    assert take(queue, slot=0) is None
    assert take(queue, slot=0, only_one_up=True) == 9


def test_a_worker_runs_dry_for_a_suspect():
    queue = queue_of(task(1), task(9, last_slot=0), short=True)
    assert take(queue, slot=1, aboard=[task(0)]) is None
    assert take(queue, slot=1) == 9


def test_nothing_is_sent_behind_a_suspect():
    queue = queue_of(task(1), short=True)
    assert take(queue, slot=1, aboard=[task(9, last_slot=0)]) is None


def test_cleared_is_empty():
    queue = queue_of(task(1), task(9, last_slot=0))
    queue.clear()
    assert take(queue, slot=1) is None
