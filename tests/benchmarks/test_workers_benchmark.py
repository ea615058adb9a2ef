"""The machinery of the benchmark of workers; no time is checked."""

from __future__ import annotations

import pytest

from benchmarks.workers import Way, shared_out, show, summarise, ways
from spikefront.cluster.worker_environment import ALLOCATOR, WAITING, worker_environment


def test_the_first_way_is_the_default_and_none_comes_twice() -> None:
    assert ways(4)[0] == Way(4, 1, "nothing")
    assert {(way.processes, way.threads) for way in ways(4)} == {(4, 1), (1, 4)}
    assert len(set(ways(4))) == len(ways(4)) == 8
    assert len(ways(1)) == 4


@pytest.mark.parametrize(
    ("without", "missing"),
    [
        ("nothing", set()),
        ("waiting", set(WAITING)),
        ("allocator", set(ALLOCATOR)),
        ("both", {*WAITING, *ALLOCATOR}),
    ],
)
def test_a_way_leaves_out_what_it_says_even_where_it_is_set(
    without: str, missing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in worker_environment():
        monkeypatch.setenv(name, "77")
    environment = Way(1, 3, without).environment
    kept = {name: environment[name] for name in worker_environment(3) if name in environment}
    wanted = worker_environment(3).items()
    assert kept == {name: value for name, value in wanted if name not in missing}
    assert "PATH" in environment


@pytest.mark.parametrize(("count", "processes"), [(7, 2), (4, 4), (5, 1)])
def test_every_candidate_is_evaluated_once(count: int, processes: int) -> None:
    shares = shared_out(count, processes)
    assert sorted(number for share in shares for number in share) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_table_and_summary() -> None:
    row = {"processes": 2, "threads": 1, "without": "both", "images_per_second": 50.4}
    rows = [
        {**row, "network": name, "of_default": ratio, "cpu_ms_per_image": 1.234}
        for name, ratio in (("a", 0.5), ("b", 0.7))
    ]
    assert summarise(rows, 1800.0) == {"2 x 1, without both": pytest.approx(0.6), "hours": 0.5}
    assert show(rows).splitlines()[2].split() == ["a", "2", "x", "1", "both", "50", "0.50", "1.23"]
