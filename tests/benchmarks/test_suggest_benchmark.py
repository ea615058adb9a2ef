"""The machinery of the benchmark of suggestions; no time is checked."""

from __future__ import annotations

import random
from functools import cache

import pytest

from benchmarks.suggest import MadeUp, measure, measure_all, show, summarise
from spikefront.evaluators.evaluation import PROBE, State
from spikefront.search.strategies import Suggestion


@cache
def made() -> MadeUp:
    return MadeUp()


def test_a_hundred_axes_whose_damages_add_up() -> None:
    space = made().space
    assert len(space.axes) == 100
    whole = made().evaluate(Suggestion(space.decode(space.full)))
    assert (whole.state, whole.measures["bytes_ratio"]) == (State.COMPLETE, 1.0)
    lowest = made().evaluate(Suggestion(space.decode((0,) * 100)))
    assert lowest.state is State.INFEASIBLE and lowest.measures["bytes_ratio"] < 0.03
    assert lowest.violation == pytest.approx(lowest.measures["drop"] - 0.015)
    some = space.sample(random.Random(0))
    assert made().evaluate(Suggestion(some)) == made().evaluate(Suggestion(some))
    probed = made().evaluate(Suggestion(some, PROBE))
    assert probed.state is State.PROBED and "drop" not in probed.measures


def test_probes_are_timed_and_not_counted() -> None:
    rows = measure(made(), "random", 150)
    assert [row["evaluations"] for row in rows] == [100]
    assert 0 < rows[0]["milliseconds"] <= rows[0]["longest_milliseconds"]
    rows = measure_all(["random"], 100)
    assert [(row["strategy"], row["axes"]) for row in rows] == [("random", 100)]


def test_figures_are_those_at_the_most_evaluations() -> None:
    python = "joint, sweep in Python"
    rows = [
        {
            "axes": 100,
            "strategy": name,
            "evaluations": mark,
            "milliseconds": spent,
            "milliseconds_so_far": spent,
            "longest_milliseconds": 2 * spent,
        }
        for name, mark, spent in (("joint", 100, 2.0), ("joint", 300, 4.0), (python, 100, 30.0))
    ]
    figures = {"joint": 4.0, python: 30.0, "times faster, compiled sweep": 15.0}
    assert summarise(rows) == figures
    assert "times faster, compiled sweep" not in summarise(rows[:2])
    assert "8.0" in show(rows)
