"""`make bench-suggest`: what a candidate costs the controller, by how many are known.

Only `suggest` and `update` are timed, in this process, one strategy after the other. The space is
that of a real network, with its exact bytes; what a candidate loses is made up (every choice does
some damage, which falls from level to level, and damages add up), so that nothing is evaluated.
A controller serves all workers of a cluster: 50 ms per candidate are 20 candidates a second.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spikefront.evaluators.evaluation import Evaluation, Stage, State
from spikefront.search.cli.table import table
from spikefront.search.config_sections import LevelsSection, StrategySection
from spikefront.search.front import Objective
from spikefront.search.strategies import (
    STRATEGIES,
    Limits,
    Strategy,
    Suggestion,
    Task,
    build_strategy,
)
from spikefront.search.strategies.joint.sweep_kernel import DISABLE_VARIABLE, sweep_kernel
from spikefront.spaces import Candidate, Granularity, SurgeryOptions
from spikefront.spaces.space import Point
from spikefront.svtmodels import build_official
from spikefront.svtmodels.cost_tables import CostTables, total

from .pairing import seconds
from .record import write_record

NETWORK: Mapping[str, Any] = {
    "img_size_h": 32,
    "img_size_w": 32,
    "patch_size": 4,
    "embed_dims": 64,
    "num_heads": 8,
    "mlp_ratios": 4,
    "in_channels": 3,
    "num_classes": 10,
    "depths": 9,
    "T": 4,
}
LIMIT = 0.015
_PARENT = 0.75
_MARKS = (100, 300, 1_000, 3_000, 10_000)
_PYTHON = "joint, sweep in Python"
_FEW = 300
"""Evaluations of that one, at most."""


class MadeUp:
    """A network whose drops are a sum of damages, and what strategies are told of it."""

    def __init__(self) -> None:
        network = build_official("spikformer_cifar10", NETWORK)
        levels = LevelsSection().chosen()
        self._spaces = [network.space(each, levels) for each in Granularity]
        self.space = self._spaces[-1]
        self._tables = CostTables.build(network, self.space, SurgeryOptions())
        self._whole = float(total(self._tables.bytes, [self.space.full])[0])
        rng = np.random.default_rng(0)
        self._damages = [
            rng.gamma(0.5, 0.02) * (0.4 ** np.arange(len(axis.levels)) - 0.4**full)
            for axis, full in zip(self.space.axes, self.space.full, strict=True)
        ]

    def strategy(self, name: str) -> Strategy:
        """A strategy, fresh."""
        objectives = (Objective("accuracy", maximise=True), Objective("bytes"))
        task = Task(self._spaces, objectives, Limits(LIMIT), 0, self._price, lambda: self._tables)
        context = {"strategies": tuple(STRATEGIES)}
        return build_strategy(task, StrategySection.model_validate({"name": name}, context=context))

    def evaluate(self, suggestion: Suggestion) -> Evaluation:
        """What would have come out."""
        point = self.space.encode(suggestion.candidate)
        damage = sum(float(d[level]) for d, level in zip(self._damages, point, strict=True))
        measures = {
            **self._sizes(point),
            "kl": 0.1 + 2 * damage,
            "drift": 5 * damage,
            "synops": 1.0,
            "energy_mj": 1.0,
        }
        if suggestion.probe:
            return Evaluation(suggestion.candidate, State.PROBED, Stage.DRIFT, measures)
        drop = damage + 0.005 * _luck(suggestion.candidate)
        measures |= {
            "drop": drop,
            "accuracy": _PARENT - drop,
            "n_search": 2000,
            "cross_entropy": 0.7 + 1.2 * damage,
        }
        violation = max(drop - LIMIT, 0.0)
        state = State.INFEASIBLE if violation else State.COMPLETE
        return Evaluation(suggestion.candidate, state, Stage.FULL, measures, violation=violation)

    def _price(self, candidate: Candidate) -> Mapping[str, float]:
        return self._sizes(self.space.encode(candidate))

    def _sizes(self, point: Point) -> dict[str, float]:
        size = float(total(self._tables.bytes, [point])[0])
        return {"bytes": size, "bytes_ratio": size / self._whole}


def _luck(candidate: Candidate) -> float:
    """Normal, the same for the same candidate."""
    digest = hashlib.sha256(candidate.key.encode()).hexdigest()
    return random.Random(digest).gauss(0, 1)


def measure(made: MadeUp, name: str, evaluations: int) -> list[dict[str, Any]]:
    """Rows of one strategy: milliseconds per candidate over the last tenth before every mark.

    Args:
        made: what is searched.
        name: of the strategy.
        evaluations: candidates, probes left out.
    """
    strategy = made.strategy(name)
    marks = [mark for mark in _MARKS if mark <= evaluations]
    spent: list[float] = []
    rows: list[dict[str, Any]] = []
    index, since = 0, 0.0
    while len(spent) < marks[-1]:
        started = time.perf_counter()
        suggestion = strategy.suggest(index)
        since += time.perf_counter() - started
        assert suggestion is not None
        evaluation = made.evaluate(suggestion)
        started = time.perf_counter()
        strategy.update(index, evaluation)
        since += time.perf_counter() - started
        index += 1
        if suggestion.probe:
            continue
        spent.append(since)
        since = 0.0
        if len(spent) in marks:
            rows.append(_row(spent))
    return rows


def _row(spent: Sequence[float]) -> dict[str, Any]:
    last = spent[-max(len(spent) // 10, 1) :]
    return {
        "evaluations": len(spent),
        "milliseconds": 1e3 * float(np.mean(last)),
        "milliseconds_so_far": 1e3 * float(np.mean(spent)),
        "longest_milliseconds": 1e3 * max(last),
    }


def measure_all(names: Sequence[str], evaluations: int) -> list[dict[str, Any]]:
    """Rows of all strategies, and of `joint` without its compiled sweep."""
    made, rows = MadeUp(), []
    for name in names:
        print(f"{name} ...", flush=True)
        rows += [{"strategy": name, **row} for row in measure(made, name, evaluations)]
    if "joint" in names and sweep_kernel() is not None:
        print(f"{_PYTHON} ...", flush=True)
        os.environ[DISABLE_VARIABLE] = "1"
        sweep_kernel.cache_clear()
        found = measure(made, "joint", min(_FEW, evaluations))
        rows += [{"strategy": _PYTHON, **row} for row in found]
        del os.environ[DISABLE_VARIABLE]
        sweep_kernel.cache_clear()
    return [{"axes": len(made.space.axes), **row} for row in rows]


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Milliseconds per candidate by strategy, at the most evaluations that it was measured at."""
    figures = {row["strategy"]: row["milliseconds"] for row in rows}
    at = {(row["strategy"], row["evaluations"]): row["milliseconds"] for row in rows}
    marks = [mark for name, mark in at if name == _PYTHON]
    if marks:
        figures["times faster, compiled sweep"] = at[_PYTHON, marks[-1]] / at["joint", marks[-1]]
    return figures


def show(rows: Sequence[Mapping[str, Any]]) -> str:
    """What is printed."""
    header = ("strategy", "axes", "evaluations", "ms", "ms so far", "longest ms")
    figures = ("milliseconds", "milliseconds_so_far", "longest_milliseconds")
    lines = [
        (
            row["strategy"],
            str(row["axes"]),
            f"{row['evaluations']:,}",
            *(f"{row[name]:.1f}" for name in figures),
        )
        for row in rows
    ]
    return table(header, lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Time all strategies, print the table, write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=10_000)
    parser.add_argument("--strategies", nargs="+", default=["joint", "nsga2", "random"])
    options = parser.parse_args(arguments)
    if options.evaluations < _MARKS[0]:
        parser.error(f"--evaluations: give {_MARKS[0]} or more.")
    rows: list[dict[str, Any]] = []
    spent = seconds(lambda: rows.extend(measure_all(options.strategies, options.evaluations)))
    given = " ".join(sys.argv[1:] if arguments is None else arguments)
    figures = {**summarise(rows), "hours": spent / 3600}
    path = write_record("suggest", rows, figures, arguments=given)
    print(show(rows))
    print(f"Written to {os.path.relpath(path)}.")


if __name__ == "__main__":
    main()
