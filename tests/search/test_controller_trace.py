"""Same seed and window, same ledger: however many workers, whatever arrives when or dies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simulated import SITES, SimulatedEvaluator
from simulated_search import STRICT_GATE, Setup, digest, events, front_of, run
from typing_extensions import override

from spikefront.evaluators.evaluation import Evaluation, Stage, State
from spikefront.search.strategies import Strategy, Suggestion
from spikefront.spaces import Granularity, SiteKind, Space

STRATEGIES = ("random", "nsga2")
ROUGH = SimulatedEvaluator(max_bytes=110_000, failing=0.05)


def searching(strategy: str, **changes: object) -> Setup:
    return replace(Setup(strategy=strategy, evaluator=ROUGH).with_budget(60), **changes)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("window", [1, 6])
def test_any_number_of_workers_any_arrival_any_deaths(tmp_path: Path, strategy: str, window: int):
    setup = searching(strategy, window=window)
    reference = run(setup, tmp_path / "reference")
    redone = duplicates = 0
    for number, workers in enumerate((1, 2, 2, 8, 8)):
        backend = setup.make_backend(workers=workers, seed=number, deaths=0.2, repeats=0.2)
        path = tmp_path / f"{number}"
        controller = run(setup, path, backend)
        assert digest(path) == digest(tmp_path / "reference")
        assert front_of(controller) == front_of(reference)
        redone += backend.redone
        duplicates += controller.counts.duplicates
    assert redone > 20
    assert duplicates > 10


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_simulation_shows_all_that_can_happen(tmp_path: Path, strategy: str):
    """Or else the equal ledgers above would prove little."""
    controller = run(searching(strategy), tmp_path / "ledger")
    by_state, by_stage = controller.counts.by_state, controller.counts.rejected_by
    for state in (State.COMPLETE, State.REJECTED, State.INFEASIBLE, State.FAILED):
        assert by_state[state] > 0, state
    assert by_stage[Stage.DRIFT] > 0
    assert len({event["gate_version"] for event in events(tmp_path / "ledger", "suggested")}) > 50
    assert len(controller.front) > 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_seed_and_window_do_change_the_trace(tmp_path: Path, strategy: str):
    changes: dict[str, dict[str, int]] = {"same": {}, "seed": {"seed": 1}, "window": {"window": 7}}
    for name, change in changes.items():
        run(searching(strategy, **change), tmp_path / name)
    assert len({digest(tmp_path / name) for name in changes}) == 3


def test_the_ledger_is_in_order_of_suggestion(tmp_path: Path):
    setup = searching("random")
    run(setup, tmp_path / "ledger", setup.make_backend(workers=6, seed=3))
    for kind in ("suggested", "evaluated"):
        assert [event["index"] for event in events(tmp_path / "ledger", kind)] == list(range(60))


class Watched(Strategy):
    """Notes what it knew when it was asked."""

    def __init__(self, inner: Strategy) -> None:
        self.known: dict[int, int] = {}
        self.learned: list[Evaluation] = []
        self._inner = inner

    @override
    def suggest(self, index: int) -> Suggestion | None:
        self.known.setdefault(index, len(self.learned))
        return self._inner.suggest(index)

    @override
    def update(self, index: int, evaluation: Evaluation) -> None:
        self.learned.append(evaluation)
        self._inner.update(index, evaluation)


@pytest.mark.parametrize("window", [1, 4, 9])
def test_suggestion_k_sees_the_commits_up_to_k_minus_w(tmp_path: Path, window: int):
    setup = searching("random", window=window)
    watched = Watched(setup.make_strategy())
    backend = setup.make_backend(workers=5, seed=1, deaths=0.1)
    controller = run(setup, tmp_path / "ledger", backend, watched)
    assert watched.known == {k: max(0, k - window + 1) for k in range(60)}
    assert watched.learned == controller.evaluations
    order = [event["candidate"] for event in events(tmp_path / "ledger", "suggested")]
    assert [evaluation.candidate.to_dict() for evaluation in watched.learned] == order


def test_the_strategy_is_told_of_what_it_suggested_again(tmp_path: Path):
    space = Space.build(SITES, Granularity.NETWORK, {SiteKind.WEIGHT: (2, 4), SiteKind.TIME: (2,)})
    setup = searching("random", spaces=(space,))
    watched = Watched(setup.make_strategy())
    controller = run(setup, tmp_path / "ledger", strategy=watched)
    assert controller.counts.hits > 0
    assert len(watched.learned) == controller.counts.hits + controller.counts.evaluations
    order = [event["key"] for event in events(tmp_path / "ledger", "suggested")]
    assert [evaluation.key for evaluation in watched.learned] == order


@pytest.mark.parametrize("ordered", [True, False])
def test_the_window_is_full_and_never_exceeded(tmp_path: Path, ordered: bool):
    setup = searching("random", window=5, ordered=ordered)
    backend = setup.make_backend(workers=3, seed=2)
    run(setup, tmp_path / "ledger", backend)
    assert backend.most_in_flight == 5
    still_open, most = 0, 0
    for event in events(tmp_path / "ledger"):
        still_open += 1 if event["event"] == "suggested" else -1
        most = max(most, still_open)
    assert (most, still_open) == (5, 0)


def test_the_gate_sent_along_is_built_from_the_commits_known(tmp_path: Path):
    setup = searching("random", gate=STRICT_GATE)
    backend = setup.make_backend(workers=4, seed=1)
    controller = run(setup, tmp_path / "ledger", backend)
    versions = {task: request.gate.version for task, request in backend.requests}
    assert versions == {k: max(0, k - setup.window + 1) for k in range(60)}
    assert {k: e.gate_version for k, e in enumerate(controller.evaluations)} == versions
    limits = {request.gate.model for _, request in backend.requests}
    assert None in limits
    assert len(limits) > 2


def test_unordered_commits_follow_the_arrival_and_lose_nothing(tmp_path: Path):
    setup = searching("random", ordered=False)
    backend = setup.make_backend(workers=6, seed=4, deaths=0.1, repeats=0.1)
    controller = run(setup, tmp_path / "ledger", backend)
    order = [event["index"] for event in events(tmp_path / "ledger", "evaluated")]
    assert sorted(order) == list(range(60))
    assert order != sorted(order)
    assert controller.counts.evaluations == 60


def test_unordered_search_resumes_from_its_own_order(tmp_path: Path):
    setup = searching("nsga2", ordered=False)
    path = tmp_path / "ledger"
    with pytest.raises(KeyboardInterrupt):
        run(setup, path, setup.make_backend(workers=6, seed=4, interrupt_at=25))
    before = events(path)
    controller = run(setup, path, setup.make_backend(workers=6, seed=5))
    assert events(path)[: len(before)] == before
    assert controller.counts.evaluations == 60
    assert len({evaluation.key for evaluation in controller.evaluations}) == 60
