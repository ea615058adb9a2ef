"""Same seed and window, same ledger, for every registered strategy; and after every kill."""

from __future__ import annotations

from pathlib import Path

import pytest
from played import fitting
from simulated import SimulatedEvaluator
from simulated_search import Setup, digest, front_of, run

from spikefront.search.controller import Controller
from spikefront.search.strategies import STRATEGIES

BUDGET = {"gp": 13}
"""A Gaussian process of its own begins at 10 and takes a second."""


def searching(name: str) -> Setup:
    evaluator = fitting(name).evaluator
    failing = SimulatedEvaluator(evaluator.max_drop, evaluator.max_bytes, failing=0.05)
    return fitting(name, window=5, evaluator=failing).with_budget(BUDGET.get(name, 24))


def summary(controller: Controller) -> object:
    counts = controller.counts.to_dict()
    return front_of(controller), {k: n for k, n in counts.items() if k != "duplicates"}


@pytest.mark.parametrize("name", STRATEGIES)
def test_any_number_of_workers_any_arrival_any_deaths(tmp_path: Path, name: str):
    setup = searching(name)
    expected = summary(run(setup, tmp_path / "1"))
    for workers in (2, 8):
        backend = setup.make_backend(workers=workers, seed=workers, deaths=0.2, repeats=0.2)
        path = tmp_path / f"{workers}"
        assert summary(run(setup, path, backend)) == expected
        assert digest(path) == digest(tmp_path / "1")


@pytest.mark.parametrize("name", STRATEGIES)
def test_killed_at_many_points(tmp_path: Path, name: str):
    """Before the first answer, early, late, and when all is done."""
    setup = searching(name)
    expected = summary(run(setup, tmp_path / "whole"))
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    points = sorted({min(point, len(lines)) for point in (1, 9, 24, len(lines) - 3, len(lines))})
    for kept in points:
        part = tmp_path / f"part-{kept}"
        part.write_bytes(b"".join(lines[:kept]))
        backend = setup.make_backend(workers=3, seed=kept, deaths=0.1)
        assert summary(run(setup, part, backend)) == expected, kept
        assert digest(part) == digest(tmp_path / "whole"), kept
