"""What is recorded of each candidate, and who is told."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from simulated import SITES, SimulatedEvaluator, share
from simulated_search import OBJECTIVES, Setup, digest, events, front_of, run

from spikefront.cluster.backend import Outcome
from spikefront.evaluators.evaluation import Evaluation, Request, Stage, State
from spikefront.search.controller import Counts
from spikefront.search.front import Front, Objective
from spikefront.search.gate import GatePolicy
from spikefront.search.ledger import Ledger
from spikefront.spaces import Granularity, SiteKind, Space


def fate(key: str) -> Outcome | None:
    """A tenth of the keys takes down every worker, another tenth gets lost."""
    drawn = share(key, "fate")
    if drawn < 0.1:
        return Outcome.QUARANTINED
    return Outcome.LOST if drawn < 0.2 else None


def test_troubles_are_told_apart_and_do_not_stop_the_search(tmp_path: Path):
    setup = Setup(evaluator=SimulatedEvaluator(failing=0.1)).with_budget(80)
    path = tmp_path / "ledger"
    controller = run(setup, path, setup.make_backend(workers=4, fate=fate))
    assert controller.counts.evaluations == 80
    for evaluation in controller.evaluations:
        expected = fate(evaluation.key)
        if expected is not None:
            assert evaluation.state.value == expected.value
            assert evaluation.error == f"{evaluation.key} ended as {expected.value}"
        elif share(evaluation.key, "fail") < 0.1:
            assert evaluation.state is State.FAILED
            assert evaluation.error is not None
            assert f"ValueError: {evaluation.key} cannot be built" in evaluation.error
        else:
            assert evaluation.error is None
    states = Counter(evaluation.state for evaluation in controller.evaluations)
    assert {s: n for s, n in controller.counts.by_state.items() if n} == states
    for state in (State.FAILED, State.LOST, State.QUARANTINED):
        assert states[state] > 0
    recorded = [event["evaluation"] for event in events(path, "evaluated")]
    assert [Evaluation.from_dict(record) for record in recorded] == controller.evaluations


def test_troubles_are_in_the_trace_and_resume(tmp_path: Path):
    setup = Setup(strategy="nsga2", evaluator=SimulatedEvaluator(failing=0.1))
    first = run(setup, tmp_path / "one", setup.make_backend(workers=1, fate=fate))
    run(setup, tmp_path / "four", setup.make_backend(workers=4, fate=fate, deaths=0.1))
    assert digest(tmp_path / "one") == digest(tmp_path / "four")
    assert front_of(run(setup, tmp_path / "one")) == front_of(first)


def test_who_did_it_and_how_often_is_kept_beside_the_result(tmp_path: Path):
    setup = Setup().with_budget(30)
    controller = run(setup, tmp_path / "ledger", setup.make_backend(workers=2, deaths=0.3))
    timings = [evaluation.timing for evaluation in controller.evaluations]
    assert {timing["worker"] for timing in timings} == {"virtual:0", "virtual:1"}
    assert min(timing["attempts"] for timing in timings) == 1
    assert max(timing["attempts"] for timing in timings) > 1
    assert all("seconds" in timing for timing in timings)


def test_late_duplicates_are_counted_and_change_nothing(tmp_path: Path):
    setup = Setup().with_budget(40)
    plain = run(setup, tmp_path / "plain")
    path = tmp_path / "repeated"
    backend = setup.make_backend(workers=3, repeats=0.6)
    repeated = run(setup, path, backend)
    assert repeated.counts.duplicates == backend.repeated > 10
    assert len(events(path, "duplicate")) == backend.repeated
    assert repeated.counts.evaluations == 40
    assert front_of(repeated) == front_of(plain)
    assert digest(path) == digest(tmp_path / "plain")


def test_counts_by_stage_of_rejection(tmp_path: Path):
    controller = run(Setup().with_budget(80), tmp_path / "ledger")
    rejected = [e for e in controller.evaluations if e.state is State.REJECTED]
    stages = Counter(e.rejection.stage for e in rejected if e.rejection is not None)
    assert {s: n for s, n in controller.counts.rejected_by.items() if n} == stages
    assert stages[Stage.DRIFT] > 0
    assert stages[Stage.SUBSET] > 0


def test_counts_as_front_json_holds_them():
    names = [*(state.value for state in State), "hits", "duplicates", "image_evaluations"]
    assert list(Counts().to_dict()) == names


def test_audits_follow_seed_and_key_alone(tmp_path: Path):
    setup = Setup().with_budget(150)
    backend = setup.make_backend(workers=3)
    controller = run(setup, tmp_path / "ledger", backend)
    policy = GatePolicy(setup.gate, setup.seed, setup.evaluator.max_drop)
    sent = [request.audited for _, request in backend.requests]
    assert sent == [policy.audits(request.candidate.key) for _, request in backend.requests]
    assert sent == [event["audited"] for event in events(tmp_path / "ledger", "suggested")]
    assert sent == [evaluation.audited for evaluation in controller.evaluations]
    assert set(sent) == {True, False}


def test_audited_candidates_pass_with_their_verdict(tmp_path: Path):
    controller = run(Setup().with_budget(120), tmp_path / "ledger")
    overruled = [e for e in controller.evaluations if e.audited and e.rejection is not None]
    assert overruled
    assert all(evaluation.stage is Stage.FULL for evaluation in overruled)
    rejected = [e for e in controller.evaluations if e.state is State.REJECTED]
    assert not any(evaluation.audited for evaluation in rejected)


class Listener:
    def __init__(self, front: Front) -> None:
        self.front = front
        self.heard: list[tuple[str, bool]] = []

    def committed(self, evaluation: Evaluation, hit: bool) -> None:
        self.heard.append((evaluation.key, hit))
        if evaluation.feasible and not hit and len(self.heard) == 1:
            assert len(self.front) == 1  # told after the commit, not before


def test_observers_hear_every_commit_in_order(tmp_path: Path):
    levels = {SiteKind.WEIGHT: (2, 4, 8), SiteKind.TIME: (1, 2, 4)}
    space = Space.build(SITES, Granularity.NETWORK, levels)
    setup = replace(Setup(), spaces=(space,)).with_budget(100)
    with Ledger.create(tmp_path / "ledger", {"fingerprints": {}}) as ledger:
        backend = setup.make_backend(workers=3)
        controller = setup.make_controller(ledger, backend)
        listeners = [Listener(controller.front), Listener(controller.front)]
        for listener in listeners:
            controller.observe(listener)
        controller.run()
    commits = [e for e in events(tmp_path / "ledger") if e["event"] != "suggested"]
    expected = [
        (e["key"], True) if e["event"] == "hit" else (e["evaluation"]["key"], False)
        for e in commits
    ]
    assert listeners[0].heard == listeners[1].heard == expected
    assert {hit for _, hit in expected} == {True, False}


def test_a_failing_observer_does_not_cost_a_commit(tmp_path: Path):
    setup = Setup().with_budget(20)
    path = tmp_path / "ledger"

    class Broken:
        def committed(self, evaluation: Evaluation, hit: bool) -> None:
            raise RuntimeError("the terminal is gone")

    backend = setup.make_backend()
    with Ledger.create(path, {"fingerprints": {}}) as ledger, backend:
        controller = setup.make_controller(ledger, backend)
        controller.observe(Broken())
        with pytest.raises(RuntimeError, match="the terminal is gone"):
            controller.run()
    assert len(events(path, "evaluated")) == 1
    run(setup, path)
    run(setup, tmp_path / "whole")
    assert digest(path) == digest(tmp_path / "whole")


@dataclass(frozen=True)
class Timed(SimulatedEvaluator):
    """Takes time, as a real one does: the same candidate never takes the same."""

    def __call__(self, request: Request) -> Evaluation:
        done = super().__call__(request)
        if done.stage is not Stage.FULL:
            return done
        return replace(done, timing={**done.timing, "latency_ms": 1.0 + time.perf_counter() % 1})


def test_latency_is_a_measure_where_it_is_an_objective_and_nowhere_else(tmp_path: Path):
    latency = (Objective("accuracy", maximise=True), Objective("latency_ms"))
    plain = replace(Setup(), evaluator=Timed(), ordered=False)
    for objectives in (OBJECTIVES, latency):
        path = tmp_path / objectives[1].name
        setup = replace(plain, objectives=objectives)
        controller = run(setup, path)
        full = [e for e in controller.evaluations if e.stage is Stage.FULL]
        measured = objectives is latency
        assert all(("latency_ms" in e.measures) == measured for e in full)
        assert all(e.measures.get("latency_ms", 0) in (0, e.timing["latency_ms"]) for e in full)
        assert len(controller.front) > 0
        # It is in the ledger, so that a resumed search has the same front.
        assert front_of(run(setup, path)) == front_of(controller)


def test_traces_with_and_without_timing_are_the_same(tmp_path: Path):
    """Latency is beside the record of an evaluation, unless it is asked for."""
    run(Setup(), tmp_path / "plain")
    run(replace(Setup(), evaluator=Timed()), tmp_path / "timed")
    assert digest(tmp_path / "plain") == digest(tmp_path / "timed")
