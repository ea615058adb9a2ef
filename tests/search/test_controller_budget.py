"""When a search ends: budgets, and spaces that are used up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from simulated import SITES, SimulatedBackend, SimulatedEvaluator
from simulated_search import OBJECTIVES, REFERENCE, Setup, digest, events, run
from typing_extensions import override

from spikefront.evaluators.evaluation import PROBE, WHOLE, Evaluation, State
from spikefront.search import controller as controller_module
from spikefront.search.config_sections import GateSection
from spikefront.search.controller import Controller
from spikefront.search.front import Front
from spikefront.search.strategies import Strategy, Suggestion
from spikefront.search.strategies.uniform_random import RandomStrategy
from spikefront.spaces import Granularity, SiteKind, Space

STRATEGIES = ("random", "nsga2")
UNGATED = GateSection(enabled=False)
TINY = (Space.build(SITES, Granularity.NETWORK, {SiteKind.WEIGHT: (2, 4), SiteKind.TIME: (2, 4)}),)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("candidates", [1, 5, 6, 7, 33])
def test_exactly_as_many_candidates_as_allowed(tmp_path: Path, candidates: int, ordered: bool):
    setup = replace(Setup(), ordered=ordered).with_budget(candidates)
    backend = setup.make_backend(workers=3, deaths=0.2)
    assert run(setup, tmp_path / "ledger", backend).counts.evaluations == candidates
    assert len(backend.requests) == candidates


def test_image_evaluations(tmp_path: Path):
    """Spent by what is committed: the window that is open then is still evaluated."""
    setup = replace(Setup(), window=4, gate=UNGATED).with_budget(1_000, image_evaluations=5_000)
    controller = run(setup, tmp_path / "ledger")
    spent = [evaluation.image_evaluations for evaluation in controller.evaluations]
    assert controller.counts.image_evaluations == sum(spent)
    last = next(n for n in range(len(spent)) if sum(spent[: n + 1]) >= 5_000)
    assert len(spent) == last + setup.window


def test_image_evaluations_stop_at_the_same_candidate_with_any_workers(tmp_path: Path):
    setup = Setup(strategy="nsga2").with_budget(1_000, image_evaluations=6_000)
    for workers in (1, 5):
        backend = setup.make_backend(workers=workers, seed=workers, deaths=0.1)
        assert run(setup, tmp_path / f"{workers}", backend).counts.evaluations < 100
    assert digest(tmp_path / "1") == digest(tmp_path / "5")


class Clock:
    """A clock that a search's waits move on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class SlowBackend(SimulatedBackend):
    """Each wait takes ten seconds."""

    clock: Clock

    def wait(self, timeout: float | None = None):
        self.clock.now += 10
        return super().wait(timeout)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    module = SimpleNamespace(monotonic=clock.monotonic)
    monkeypatch.setattr(controller_module, "time", module)
    return clock


def slow_backend(setup: Setup, clock: Clock) -> SlowBackend:
    backend = SlowBackend(setup.evaluator, capacity=setup.window)
    backend.clock = clock
    return backend


def test_seconds(tmp_path: Path, clock: Clock):
    """After 95 s, ten waits are over; what is open then is still evaluated."""
    setup = replace(Setup(), window=4).with_budget(1_000, seconds=95.0)
    controller = run(setup, tmp_path / "ledger", slow_backend(setup, clock))
    assert controller.counts.evaluations == 9 + setup.window


def test_seconds_count_anew_after_a_resume(tmp_path: Path, clock: Clock):
    setup = replace(Setup(), window=4).with_budget(1_000, seconds=95.0)
    path = tmp_path / "ledger"
    run(setup, path, slow_backend(setup, clock))
    clock.now += 10_000
    controller = run(setup, path, slow_backend(setup, clock))
    assert controller.counts.evaluations == 2 * (9 + setup.window)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("ordered", [True, False])
def test_a_space_that_is_used_up_ends_the_search(tmp_path: Path, strategy: str, ordered: bool):
    setup = replace(Setup(strategy=strategy), spaces=TINY, ordered=ordered).with_budget(1_000)
    assert TINY[0].size == 6
    controller = run(setup, tmp_path / "ledger", setup.make_backend(workers=3))
    keys = [evaluation.key for evaluation in controller.evaluations]
    assert len(keys) == len(set(keys)) == 6
    assert controller.counts.hits == len(events(tmp_path / "ledger", "hit")) < 200


def test_a_strategy_that_only_repeats_itself_ends_the_search(tmp_path: Path):
    """Where the size of the space is not known, 200 repetitions in a row count as its end."""
    setup = replace(Setup(), spaces=TINY)
    unknown = SimpleNamespace(size=10**9, axes=TINY[0].axes, decode=TINY[0].decode)
    unknown.sample = TINY[0].sample
    setup = replace(setup, spaces=(unknown,)).with_budget(1_000)  # pyright: ignore
    controller = run(setup, tmp_path / "ledger")
    assert controller.counts.evaluations == 6
    assert 200 <= controller.counts.hits < 200 + 60


def test_hits_are_recorded_and_cost_nothing(tmp_path: Path):
    setup = replace(Setup(), spaces=TINY, gate=UNGATED).with_budget(5)
    backend = setup.make_backend(workers=2)
    controller = run(setup, tmp_path / "ledger", backend)
    hits = events(tmp_path / "ledger", "hit")
    suggested = {e["index"]: e["key"] for e in events(tmp_path / "ledger", "suggested")}
    assert len(backend.requests) == controller.counts.evaluations == 5
    assert controller.counts.hits == len(hits) > 0
    assert all(suggested[hit["index"]] == hit["key"] for hit in hits)
    assert len(suggested) == 5 + len(hits)
    images = sum(evaluation.image_evaluations for evaluation in controller.evaluations)
    assert controller.counts.image_evaluations == images
    assert controller.counts.to_dict()["hits"] == len(hits)


def test_a_repeat_of_what_is_on_its_way_waits_for_it(tmp_path: Path):
    """It is not evaluated twice, and it is committed after what it repeats, in either mode."""
    for ordered in (True, False):
        path = tmp_path / f"{ordered}"
        setup = replace(Setup(window=8), spaces=TINY, ordered=ordered).with_budget(6)
        run(setup, path, setup.make_backend(workers=8, seed=1))
        index_of = {e["evaluation"]["key"]: e["n"] for e in events(path, "evaluated")}
        hits = events(path, "hit")
        assert hits
        assert all(hit["n"] > index_of[hit["key"]] for hit in hits)


def test_failures_count_towards_the_budget(tmp_path: Path):
    setup = Setup(evaluator=SimulatedEvaluator(failing=1.0)).with_budget(7)
    controller = run(setup, tmp_path / "ledger")
    assert controller.counts.evaluations == 7
    assert len(controller.front) == 0


def first_stall(controller: Controller, patience: int) -> int | None:
    """Number of evaluations after which the front had not grown, worked out anew."""
    front, volumes = Front(OBJECTIVES), []
    for count, evaluation in enumerate(controller.evaluations, 1):
        front.add(evaluation)
        volumes.append(front.hypervolume(REFERENCE))
        if count > patience and 0 < volumes[-1] < 1.001 * volumes[-1 - patience]:
            return count
    return None


@pytest.mark.parametrize("patience", [10, 25])
def test_patience(tmp_path: Path, patience: int):
    setup = Setup(strategy="nsga2").with_budget(400, patience=patience)
    controller = run(setup, tmp_path / "ledger")
    stalled = first_stall(controller, patience)
    assert stalled is not None
    # What was open then, and has taken the place of what was committed, is still evaluated.
    assert len(controller.evaluations) == stalled + setup.window - 1
    assert stalled < 400 - setup.window
    whole = run(setup.with_budget(stalled), tmp_path / "whole")
    assert [e.key for e in whole.evaluations] == [e.key for e in controller.evaluations][:stalled]


def test_patience_is_the_same_with_any_workers_and_after_any_kill(tmp_path: Path):
    setup = Setup(strategy="nsga2").with_budget(400, patience=12)
    run(setup, tmp_path / "1")
    run(setup, tmp_path / "5", setup.make_backend(workers=5, seed=3, deaths=0.1))
    assert digest(tmp_path / "5") == digest(tmp_path / "1")
    lines = (tmp_path / "1").read_bytes().splitlines(keepends=True)
    for kept in (1, 20, len(lines) - 13, len(lines) - 5, len(lines)):
        (tmp_path / "part").write_bytes(b"".join(lines[:kept]))
        run(setup, tmp_path / "part")
        assert digest(tmp_path / "part") == digest(tmp_path / "1"), kept


def test_patience_waits_for_the_first_feasible_candidate(tmp_path: Path):
    """A front without a volume has not stopped growing, it has not begun."""
    hopeless = SimulatedEvaluator(max_drop=0.0, max_bytes=1)
    setup = Setup(evaluator=hopeless).with_budget(50, patience=3)
    assert run(setup, tmp_path / "ledger").counts.evaluations == 50


class Probing(Strategy):
    """The same good candidate first, then as many probes as there are places in the space."""

    def __init__(self) -> None:
        self._random = RandomStrategy(Setup().make_task())

    @override
    def suggest(self, index: int) -> Suggestion:
        candidate = self._random.suggest(index).candidate
        return Suggestion(candidate, WHOLE if index % 10 == 0 else PROBE)

    @override
    def update(self, index: int, evaluation: Evaluation) -> None:
        pass


def test_probes_do_not_count(tmp_path: Path):
    """Neither as candidates of a budget nor as evaluations without growth."""
    setup = Setup(evaluator=SimulatedEvaluator(max_drop=0.6)).with_budget(4, patience=4)
    controller = run(setup, tmp_path / "ledger", strategy=Probing())
    assert controller.counts.candidates == 4
    assert controller.counts.by_state[State.PROBED] >= 27
    assert controller.counts.to_dict()["probed"] == controller.counts.by_state[State.PROBED]
