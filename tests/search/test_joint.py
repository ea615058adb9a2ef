"""The strategy `joint` on the made-up network: what it asks, against NSGA-II, what it chooses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated import LEVELS, SITES, SPACES, SimulatedEvaluator
from simulated_search import Setup, digest, run

from spikefront.evaluators.evaluation import WHOLE, Request, State
from spikefront.search.config_sections import GateSection
from spikefront.search.strategies.base import Strategy, Suggestion
from spikefront.search.strategies.joint.probes import Probes
from spikefront.search.strategies.joint.strategy import Joint
from spikefront.spaces import Candidate, Granularity, SiteKind, Space
from spikefront.svtmodels.cost_tables import CostTables, CostTerm

SPACE = SPACES[-1]


def asked_one_by_one(
    max_drop: float | None, count: int, strategy: Strategy | None = None
) -> list[Suggestion]:
    judge = SimulatedEvaluator(max_drop=max_drop)
    strategy = strategy or Setup(strategy="joint", evaluator=judge).make_strategy()
    suggestions: list[Suggestion] = []
    for index in range(count):
        suggestion = strategy.suggest(index)
        assert suggestion is not None
        evaluation = judge(Request(suggestion.candidate, checks=suggestion.checks))
        assert (evaluation.state is State.PROBED) == suggestion.probe
        strategy.update(index, evaluation)
        suggestions.append(suggestion)
    return suggestions


def test_the_base_is_the_smallest_that_loses_little_and_probes_start_from_it():
    """At 6 bits the made-up network loses 0.023, at 4 bits 0.094; 0.6 of the limit is allowed."""
    suggestions = asked_one_by_one(0.05, 60)
    uniform, compared, planned = suggestions[:4], suggestions[4:6], suggestions[6]
    assert [each.checks for each in uniform] == [WHOLE] * 4
    assert all(each.probe for each in compared)
    assert compared[0].candidate == Candidate()
    assert compared[1].candidate == uniform[3].candidate
    assert not planned.probe
    base = set(compared[1].candidate.choices)
    probes = [each.candidate for each in suggestions[7:] if each.probe]
    assert all(len(set(probe.choices) ^ base) in (1, 2) for probe in probes)


def test_widths_in_between_are_not_asked_where_the_lowest_loses_little():
    suggestions = asked_one_by_one(0.9, 4)
    assert [each.checks for each in suggestions[:2]] == [WHOLE] * 2
    assert suggestions[3].candidate == suggestions[0].candidate


def test_candidates_are_planned_from_the_start_and_probes_come_between_them():
    suggestions = asked_one_by_one(None, 80)
    first = next(n for n, each in enumerate(suggestions) if each.checks is None)
    probes = [n for n, each in enumerate(suggestions) if each.probe and n > first]
    assert first < 8
    between = suggestions[first : probes[-1] + 1]
    assert [each.probe for each in between[:18]] == ([False] + [True] * 8) * 2
    assert not any(each.probe for each in suggestions[probes[-1] + 1 :])


def test_a_plan_from_depth_alone_takes_bits_from_late_layers():
    planned = asked_one_by_one(0.05, 7)[-1]
    assert not planned.probe
    bits = [planned.candidate.value(site) for site in SITES if site.kind is SiteKind.WEIGHT]
    assert np.mean(bits[:4]) > np.mean(bits[4:])


def of_channels_alone() -> Strategy:
    levels = {SiteKind.CHANNEL: LEVELS[SiteKind.CHANNEL]}
    space = Space.build(SITES, Granularity.LAYER, levels)
    sizes = [
        CostTerm(a.name, (n,), np.array(a.levels), spikes=True) for n, a in enumerate(space.axes)
    ]
    task = Setup(evaluator=SimulatedEvaluator(max_drop=0.05)).make_task()
    tables = CostTables(tuple(sizes), tuple(sizes))
    return Joint(replace(task, spaces=(space,), tables=lambda: tables))


def test_without_weights_nothing_is_planned_before_something_is_probed():
    suggestions = asked_one_by_one(0.05, 12, of_channels_alone())
    planned = [n for n, each in enumerate(suggestions) if not each.probe]
    assert planned[0] > 1
    assert Candidate() not in [suggestions[n].candidate for n in planned]


def test_with_everything_on_its_way_it_waits_for_something_to_plan_with():
    judge, strategy = SimulatedEvaluator(max_drop=0.05), of_channels_alone()

    def commit(index: int) -> None:
        suggestion = strategy.suggest(index)
        assert suggestion is not None and suggestion.probe
        strategy.update(index, judge(Request(suggestion.candidate, checks=suggestion.checks)))

    commit(0)
    probes = [strategy.suggest(n) for n in range(1, 5)]
    assert all(each is not None and each.probe for each in probes)
    assert strategy.suggest(5) is None
    commit(1)
    planned = strategy.suggest(5)
    assert planned is not None and not planned.probe


def test_the_last_probes_are_read_before_the_next_candidate(monkeypatch: pytest.MonkeyPatch):
    read: list[int] = []
    noted = Probes.note

    def note(self: Probes, *given: Any) -> None:
        read.append(1)
        noted(self, *given)

    monkeypatch.setattr(Probes, "note", note)
    probes = [each for each in asked_one_by_one(None, 80) if each.probe]
    assert len(read) == len(probes) - 1  # All but the trained network.


def test_axes_that_save_nothing_are_not_probed():
    """Tokens and steps change no bytes."""
    suggestions = asked_one_by_one(None, 80)
    compared = [each.candidate for each in suggestions if each.probe][1]
    probes = [each.candidate for each in suggestions if each.probe][2:]
    changed = {choice for probe in probes for choice in set(probe.choices) ^ set(compared.choices)}
    assert {choice[0] for choice in changed} == {"channel", "weight"}


def test_with_a_limit_every_fourth_candidate_is_asked_all_images():
    """What is believed of the others is drawn from these: nothing ended the unlucky among them."""
    with_limit = [each for each in asked_one_by_one(0.05, 90)[6:] if not each.probe]
    assert 0.2 < np.mean([each.checks == WHOLE for each in with_limit]) < 0.3
    without = [each for each in asked_one_by_one(None, 80)[6:] if not each.probe]
    assert not any(each.checks == WHOLE for each in without)


def test_no_candidate_is_suggested_twice_and_a_window_holds_different_ideas(tmp_path: Path):
    setup = Setup(strategy="joint", window=6).with_budget(60)
    controller = run(setup, tmp_path / "ledger")
    assert controller.counts.hits == 0
    assert controller.counts.evaluations > 60


UNGATED = GateSection(enabled=False)


@pytest.mark.parametrize("max_drop", [None, 0.05])
def test_it_needs_a_fifth_of_the_image_evaluations_of_nsga2(tmp_path: Path, max_drop: float | None):
    """Its worst of three seeds against the mean of three of the other's, probes included."""
    evaluator = SimulatedEvaluator(max_drop=max_drop)
    base = Setup(population=20, evaluator=evaluator, gate=UNGATED)
    reference = {"accuracy": 0.1, "bytes": 131_136}
    theirs, spent = [], []
    for seed in range(3):
        setup = replace(base, strategy="nsga2", seed=seed).with_budget(200)
        controller = run(setup, tmp_path / f"nsga2-{seed}")
        theirs.append(controller.front.hypervolume(reference))
        spent.append(controller.counts.image_evaluations)
    budget = int(np.mean(spent) / 5)
    for seed in range(3):
        setup = replace(base, strategy="joint", seed=seed)
        setup = setup.with_budget(1000, image_evaluations=budget)
        found = run(setup, tmp_path / f"joint-{seed}").front.hypervolume(reference)
        assert found > np.mean(theirs)


def test_a_limit_of_bytes_is_kept(tmp_path: Path):
    evaluator = SimulatedEvaluator(max_drop=None, max_bytes=9_000)
    setup = Setup(strategy="joint", evaluator=evaluator).with_budget(30)
    judged = [e for e in run(setup, tmp_path / "ledger").evaluations if e.state is not State.PROBED]
    # The uniform candidates at the start are larger.
    assert sum(e.measures["bytes"] <= 9_000 for e in judged) >= len(judged) - 4


def test_what_is_known_twice_counts_twice_and_breaks_nothing(tmp_path: Path):
    """As where two earlier searches that it starts from found the same."""
    setup = Setup(strategy="joint", evaluator=SimulatedEvaluator(max_drop=0.05)).with_budget(20)
    controller = run(setup, tmp_path / "first")
    strategy = setup.make_strategy()
    for evaluation in 2 * [e for e in controller.evaluations if e.state is not State.PROBED]:
        strategy.learn(evaluation)
    again = run(setup, tmp_path / "again", strategy=strategy)
    assert again.counts.by_state[State.COMPLETE] > 0


def test_everything_failing_is_survived(tmp_path: Path):
    setup = Setup(strategy="joint", evaluator=SimulatedEvaluator(failing=1.0)).with_budget(20)
    controller = run(setup, tmp_path / "ledger")
    assert controller.counts.by_state[State.FAILED] > 20


def test_the_trace_is_the_same_with_any_number_of_workers(tmp_path: Path):
    setup = Setup(strategy="joint").with_budget(30)
    digests = set()
    for workers in (1, 2, 8):
        path = tmp_path / str(workers)
        run(setup, path, setup.make_backend(workers=workers, seed=workers, deaths=0.1))
        digests.add(digest(path))
    assert len(digests) == 1


def test_with_a_limit_it_chooses_what_it_believes_to_keep_it(tmp_path: Path):
    setup = Setup(strategy="joint", evaluator=SimulatedEvaluator(max_drop=0.05)).with_budget(40)
    strategy = setup.make_strategy()
    controller = run(setup, tmp_path / "ledger", strategy=strategy)
    outcome = strategy.outcome()
    assert outcome is not None
    chosen = next(e for e in controller.evaluations if e.key == outcome["chosen"])
    assert chosen.feasible
    assert outcome["met"]
    assert outcome["finished"]
    assert outcome["believed_drop"] <= 0.05
    assert chosen.measures["bytes"] <= 1.2 * controller.front.smallest().measures["bytes"]
    assert (
        Setup(strategy="joint", evaluator=SimulatedEvaluator(None)).make_strategy().outcome()
        is None
    )


def test_what_all_candidates_lose_alike_is_the_trained_networks_luck(tmp_path: Path):
    """They are compared with a network that was 3 points too good there."""
    chosen, lucks = [], []
    for luck in (0.0, 0.03):
        evaluator = SimulatedEvaluator(max_drop=0.05, luck=luck)
        setup = Setup(strategy="joint", evaluator=evaluator).with_budget(60)
        strategy = setup.make_strategy()
        controller = run(setup, tmp_path / str(luck), strategy=strategy)
        outcome = strategy.outcome()
        assert outcome is not None
        lucks.append(outcome["luck"])
        found = next(e for e in controller.evaluations if e.key == outcome["chosen"])
        chosen.append(found.measures["drop"] - outcome["believed_drop"])
    assert lucks[0] < 0.01
    assert lucks[1] == pytest.approx(0.025, abs=0.01)
    assert chosen == pytest.approx(lucks, abs=1e-9)
