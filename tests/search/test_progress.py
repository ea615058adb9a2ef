from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from simulated_search import OBJECTIVES

from spikefront.evaluators.evaluation import Evaluation, Rejection, Stage, State
from spikefront.search import progress as progress_module
from spikefront.search.controller import Budget, Counts
from spikefront.search.front import Front
from spikefront.search.progress import Progress
from spikefront.spaces import Candidate


class Screen(io.StringIO):
    def __init__(self, live: bool) -> None:
        super().__init__()
        self._live = live

    def isatty(self) -> bool:
        return self._live


class Run:
    """A search that commits one candidate per tick of a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, live: bool = False, total: int = 10):
        self.now = 50.0
        module = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(progress_module, "time", module)
        self.screen = Screen(live)
        self.counts, self.front = Counts(), Front(OBJECTIVES)
        self.progress = Progress(Budget(total), self.counts, self.front, self.screen)
        self.number = 0

    def commit(self, after: float = 1.0, hit: bool = False, **changes: Any) -> None:
        self.now += after
        self.number += 1
        evaluation = evaluated(self.number, **changes)
        if not hit:
            self.counts.add(evaluation)
            self.front.add(evaluation)
        self.progress.committed(evaluation, hit)

    @property
    def written(self) -> str:
        return self.screen.getvalue()


def evaluated(
    number: int,
    state: State = State.COMPLETE,
    ratio: float = 0.5,
    accuracy: float = 0.9,
    rejection: Rejection | None = None,
) -> Evaluation:
    measures = {"bytes": int(1000 * ratio), "bytes_ratio": ratio, "accuracy": accuracy}
    candidate = Candidate((("weight", f"layer.{number}", 2),))
    return Evaluation(candidate, state, Stage.FULL, measures, rejection=rejection)


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(monkeypatch)


def test_line_before_anything(search: Run):
    assert search.progress.line() == (
        "0/10 candidates, 0.0/s, rejected 0%, none feasible yet, ETA unknown"
    )


def test_line_says_rate_strictness_best_and_rest(search: Run):
    search.commit(ratio=0.5)
    search.commit(ratio=0.25, accuracy=0.875)
    rejected = Rejection(Stage.DRIFT, 1.0, 0.5)
    search.commit(state=State.REJECTED, rejection=rejected)
    search.commit(state=State.REJECTED, rejection=Rejection(Stage.SUBSET, 1.0, 0.5))
    assert search.progress.line() == (
        "4/10 candidates, 1.0/s, rejected 50% (1 by drift, 1 by subset), "
        "best 25.0% of bytes at 87.50%, ETA 0:06"
    )


def test_best_is_the_smallest_feasible_one(search: Run):
    search.commit(ratio=0.1, state=State.INFEASIBLE)
    assert "none feasible yet" in search.progress.line()
    search.commit(ratio=0.4)
    search.commit(ratio=0.6)
    assert "best 40.0% of bytes" in search.progress.line()


def test_best_is_known_after_a_resume(monkeypatch: pytest.MonkeyPatch):
    """What was committed before is in counts and front, though nobody told of it."""
    search = Run(monkeypatch)
    earlier = evaluated(99, ratio=0.2)
    search.counts.add(earlier)
    search.front.add(earlier)
    assert search.progress.line().startswith("1/10 candidates, 0.0/s")
    assert "best 20.0% of bytes" in search.progress.line()


def test_hits_do_not_count_into_the_rate(search: Run):
    search.commit()
    for _ in range(50):
        search.commit(after=0.01, hit=True)
    search.commit(after=1.5)
    assert "2/10 candidates, 0.5/s" in search.progress.line()


def test_rate_forgets_the_distant_past(monkeypatch: pytest.MonkeyPatch):
    search = Run(monkeypatch, total=1_000)
    for _ in range(10):
        search.commit(after=100.0)
    for _ in range(64):
        search.commit(after=0.1)
    assert "10.0/s" in search.progress.line()
    assert search.progress.line().endswith("ETA 1:33")


def test_eta_of_a_finished_search_is_zero(search: Run):
    for _ in range(10):
        search.commit()
    assert search.progress.line().endswith("ETA 0:00")


def test_eta_of_a_search_that_was_finished_before(monkeypatch: pytest.MonkeyPatch):
    search = Run(monkeypatch, total=1)
    search.counts.add(evaluated(0))
    assert search.progress.line().endswith("ETA 0:00")


def test_off_a_terminal_a_line_now_and_then(search: Run):
    for _ in range(25):
        search.commit(after=1.0)
    lines = search.written.splitlines()
    assert [line.partition("/")[0] for line in lines] == ["1", "11", "21"]
    assert "\x1b" not in search.written


def test_on_a_terminal_one_line_that_is_rewritten(monkeypatch: pytest.MonkeyPatch):
    search = Run(monkeypatch, live=True)
    for _ in range(9):
        search.commit(after=0.2)
    assert search.written.count("\r\x1b[K") == 3
    assert "\n" not in search.written
    search.progress.finish()
    assert search.written.endswith("\n")
    assert search.written.count("\n") == 1


def test_the_last_line_is_current(search: Run):
    search.commit()
    search.commit()
    search.progress.finish()
    assert search.written.splitlines()[-1].startswith("2/10 candidates")


def test_standard_error_by_default(capsys: pytest.CaptureFixture[str]):
    Progress(Budget(3), Counts(), Front(OBJECTIVES)).finish()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("0/3 candidates")


def test_probes_are_no_candidates():
    counts = Counts()
    for state, number in ((State.PROBED, 7), (State.COMPLETE, 2)):
        counts.by_state[state] = number
    line = Progress(Budget(10), counts, Front(OBJECTIVES), io.StringIO()).line()
    assert line.startswith("2/10 candidates and 7 probes, ")
