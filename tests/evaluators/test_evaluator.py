"""The stages of an evaluation, on the trained network of the zoo and a few digits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from evaluated_models import (
    GATE_IMAGES,
    N_SEARCH,
    N_TEST,
    chosen,
    digits_blueprint,
    digits_network,
    few_digits,
    hooks,
    with_settings,
)

from spikefront.evaluators.accuracy import correct
from spikefront.evaluators.data import Preprocessing
from spikefront.evaluators.evaluation import Evaluation, Gate, Request, Stage, State
from spikefront.evaluators.evaluator import Evaluator
from spikefront.evaluators.image_order import ImageOrder, draw_images
from spikefront.evaluators.intervals import paired_interval
from spikefront.evaluators.sequential import DropTest
from spikefront.spaces import BadInput, Candidate
from spikefront.svtmodels.costs import parent_bytes, static_costs
from spikefront.svtmodels.spikformer import Spikformer
from spikefront.svtmodels.surgery.compress import compress

IDENTITY = Candidate()
MILD = chosen(digits_network(), token=0.5, time=2)
FOUR_BITS = chosen(digits_network(), weight=4)
RUINED = chosen(digits_network(), weight=2)


def evaluator(**limits: Any) -> Evaluator:
    return with_settings(digits_blueprint(), **limits).build()


def untimed(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, timing={})


def right(candidate: Candidate, split: str) -> np.ndarray:
    """Whether a candidate answers the images of a split correctly, computed anew."""
    blueprint = digits_blueprint()
    data = blueprint.search if split == "search" else blueprint.test
    network = compress(digits_network(), candidate)
    return correct(network, data, blueprint.preprocessing, 13).numpy()


def test_the_trained_network_itself_is_complete_without_any_drop() -> None:
    got = evaluator(max_drop=0.0)(Request(IDENTITY, Gate(3, max_drift=0.01)))
    assert (got.state, got.stage, got.rejection, got.violation) == (
        State.COMPLETE,
        Stage.FULL,
        None,
        0.0,
    )
    parent = digits_blueprint().search_correct
    assert got.measures["accuracy"] == parent.mean() > 0.9
    assert got.measures["drop"] == 0.0
    assert got.measures["drift"] == 0.0
    assert got.measures["n_search"] == N_SEARCH
    assert got.image_evaluations == GATE_IMAGES + N_SEARCH
    assert (got.gate_version, got.audited, got.error) == (3, False, None)
    assert got.feasible


def test_measures_of_a_complete_evaluation() -> None:
    candidate = chosen(digits_network(), weight=4, token=0.5, time=3, state=8)
    got = evaluator()(Request(candidate)).measures
    costs = static_costs(digits_network(), candidate)
    assert got["bytes"] == costs.bytes
    assert got["bytes_ratio"] == costs.bytes / parent_bytes(digits_network())
    assert (got["parameters"], got["macs"]) == (costs.parameters, costs.macs)
    assert got["state_bytes"] == costs.state_bytes > 0
    answers, parent = right(candidate, "search"), digits_blueprint().search_correct
    assert got["accuracy"] == pytest.approx(answers.mean())
    assert got["drop"] == pytest.approx(parent.mean() - answers.mean())
    real = costs.first_macs + costs.score_macs + costs.head_macs
    assert got["energy_mj"] == pytest.approx((4.6 * real + 0.9 * got["synops"]) * 1e-9)
    literature = got["energy_mj"] + 4.6e-9 * 2 * costs.first_macs  # all three steps
    assert got["energy_literature_mj"] == pytest.approx(literature)
    assert costs.score_macs > 0
    assert 0 < got["synops"] < evaluator()(Request(IDENTITY)).measures["synops"]


def test_too_many_bytes_end_it_before_any_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = evaluator(max_bytes=40_000)

    def must_not_run(self: Spikformer, x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("forward pass")

    monkeypatch.setattr(Spikformer, "features", must_not_run)
    got = judge(Request(RUINED, audited=True))
    assert (got.state, got.stage, got.image_evaluations) == (State.INFEASIBLE, Stage.STATIC, 0)
    assert set(got.measures) == {"bytes", "bytes_ratio", "parameters", "macs", "state_bytes"}
    assert got.violation == pytest.approx(got.measures["bytes"] / 40_000 - 1)
    assert got.violation > 0
    assert got.rejection is None


def test_exactly_the_bytes_allowed_are_allowed() -> None:
    size = static_costs(digits_network(), MILD).bytes
    assert evaluator(max_bytes=size)(Request(MILD)).state is State.COMPLETE
    assert evaluator(max_bytes=size - 1)(Request(MILD)).state is State.INFEASIBLE


@pytest.mark.parametrize("max_drift", [0.0, 0.01])
def test_rejected_by_drift(max_drift: float) -> None:
    got = evaluator()(Request(FOUR_BITS, Gate(7, max_drift=max_drift)))
    assert (got.state, got.stage, got.gate_version) == (State.REJECTED, Stage.DRIFT, 7)
    assert got.rejection is not None
    drift = got.measures["drift"]
    assert drift > max_drift
    assert got.rejection.stage is Stage.DRIFT
    assert (got.rejection.value, got.rejection.threshold) == (drift, max_drift)
    assert got.violation == pytest.approx(drift - max_drift)
    assert "accuracy" not in got.measures
    assert got.image_evaluations == GATE_IMAGES


def test_drift_at_the_limit_passes() -> None:
    judge = evaluator()
    drift = judge(Request(FOUR_BITS)).measures["drift"]
    assert judge(Request(FOUR_BITS, Gate(max_drift=drift))).state is State.COMPLETE


def test_an_audited_candidate_passes_the_gate_and_keeps_its_verdict() -> None:
    judge = evaluator()
    free = judge(Request(FOUR_BITS))
    audited = judge(Request(FOUR_BITS, Gate(max_drift=0.01), audited=True))
    assert (audited.state, audited.stage, audited.audited) == (State.COMPLETE, Stage.FULL, True)
    assert audited.rejection is not None
    assert audited.rejection.stage is Stage.DRIFT
    assert audited.measures == free.measures
    assert audited.image_evaluations == GATE_IMAGES + N_SEARCH
    assert audited.violation == 0.0


def test_a_ruined_candidate_is_rejected_by_a_part_of_the_images() -> None:
    got = evaluator(max_drop=0.02)(Request(RUINED))
    assert (got.state, got.stage) == (State.REJECTED, Stage.SUBSET)
    parent = digits_blueprint().search_correct
    draw = draw_images(ImageOrder(), RUINED.key, parent)
    differences = (parent.astype(int) - right(RUINED, "search"))[draw.order]
    expected = DropTest(0.02, draw.weights, draw.parent_right)
    expected.update(differences)
    n = expected.rejected_at
    assert n is not None
    assert got.measures["n_search"] == n < N_SEARCH
    assert got.rejection is not None
    assert got.rejection.stage is Stage.SUBSET
    assert got.rejection.threshold == 0.02
    assert got.rejection.value == got.measures["drop"] == expected.estimate
    assert got.measures["accuracy"] == pytest.approx(parent.mean() - expected.estimate)
    assert got.answers is not None
    assert set(np.flatnonzero(got.answers.seen)) == set(draw.order[:n])
    assert set(np.flatnonzero(got.answers.worse)) == set(draw.order[:n][differences[:n] == 1])
    assert got.violation == pytest.approx(got.measures["drop"] - 0.02)
    assert "synops" not in got.measures
    assert n <= got.image_evaluations - GATE_IMAGES < N_SEARCH


def test_an_audited_ruin_is_measured_in_full_and_infeasible() -> None:
    judge = evaluator(max_drop=0.02)
    stopped, got = judge(Request(RUINED)), judge(Request(RUINED, audited=True))
    assert (got.state, got.stage) == (State.INFEASIBLE, Stage.FULL)
    assert got.rejection == stopped.rejection
    assert got.measures["n_search"] == N_SEARCH
    assert got.measures["accuracy"] == pytest.approx(right(RUINED, "search").mean())
    assert got.violation == pytest.approx(got.measures["drop"] - 0.02)
    assert got.image_evaluations == GATE_IMAGES + N_SEARCH


def test_too_large_a_drop_is_infeasible_where_the_test_was_not_sure() -> None:
    candidate = chosen(digits_network(), weight=3)
    drop = evaluator()(Request(candidate)).measures["drop"]
    limit = drop - 0.01
    # Sure only after the very last image, which is one that it lost.
    parent = digits_blueprint().search_correct
    lost = np.flatnonzero(parent & ~right(candidate, "search"))
    orders = (ImageOrder(seed=seed) for seed in range(1000))
    order = next(o for o in orders if draw_images(o, candidate.key, parent).order[-1] in lost)
    got = evaluator(max_drop=limit, alpha=1e-9)(Request(candidate, Gate(order=order)))
    assert (got.state, got.stage, got.rejection) == (State.INFEASIBLE, Stage.FULL, None)
    assert got.measures["drop"] == drop
    assert got.violation == pytest.approx(0.01)
    assert evaluator(max_drop=drop)(Request(candidate)).state is State.COMPLETE


def test_rivals_of_no_more_bytes_rule_where_no_drop_is_set() -> None:
    size = static_costs(digits_network(), RUINED).bytes
    accuracy = float(digits_blueprint().search_correct.mean())
    judge = evaluator()
    gate = Gate(2, rivals=((size - 64, 0.2), (size, 0.97), (size + 1, 1.0)))
    got = judge(Request(RUINED, gate))
    assert (got.state, got.stage) == (State.REJECTED, Stage.SUBSET)
    assert got.rejection is not None
    assert got.rejection.threshold == pytest.approx(accuracy - 0.97)
    larger = Gate(2, rivals=((size + 1, 1.0),))
    assert judge(Request(RUINED, larger)).state is State.COMPLETE
    # An equal of the rival is not surely worse.
    assert judge(Request(IDENTITY, Gate(rivals=((1, accuracy),)))).state is State.COMPLETE


HEAVY = ImageOrder.of(8, 5, np.r_[np.full(N_SEARCH - 20, 1.0), np.full(20, 40.0)])


def test_the_order_sent_along_says_which_images_come_early() -> None:
    got = evaluator(max_drop=0.02)(Request(RUINED, Gate(order=HEAVY)))
    assert got.state is State.REJECTED
    assert got.answers is not None
    seen = np.flatnonzero(got.answers.seen)
    parent = digits_blueprint().search_correct
    expected = draw_images(HEAVY, RUINED.key, parent).order[: len(seen)]
    assert set(seen) == set(expected)
    assert (seen >= N_SEARCH - 20).mean() > 0.6


@pytest.mark.parametrize("limits", [{}, {"max_drop": 0.9}, {"max_drop": 0.0}])
def test_the_order_changes_nothing_of_what_is_measured_in_full(limits: dict[str, float]) -> None:
    judge, audited = evaluator(**limits), "max_drop" in limits
    for candidate in (FOUR_BITS, MILD, RUINED):
        first, second = (
            judge(
                Request(candidate, Gate(order=order), audited=audited and limits["max_drop"] == 0)
            )
            for order in (ImageOrder(), HEAVY)
        )
        assert first.stage is Stage.FULL
        assert second.measures == first.measures
        assert second.answers == first.answers
        answers = right(candidate, "search")
        assert first.measures["accuracy"] == answers.sum() / N_SEARCH
        assert first.answers is not None
        parent = digits_blueprint().search_correct
        np.testing.assert_array_equal(first.answers.worse, parent & ~answers)
        np.testing.assert_array_equal(first.answers.better, ~parent & answers)


def test_an_evaluation_with_answers_survives_its_record() -> None:
    for request_ in (Request(RUINED), Request(MILD), Request(MILD, Gate(max_drift=0.0))):
        got = untimed(evaluator(max_drop=0.02)(request_))
        assert Evaluation.from_dict(json.loads(json.dumps(got.to_dict()))) == got


def test_with_an_accuracy_limit_rivals_do_not_matter() -> None:
    gate = Gate(rivals=((1, 1.0),))
    got = evaluator(max_drop=0.99)(Request(RUINED, gate))
    assert (got.state, got.rejection) == (State.COMPLETE, None)


def test_too_much_energy_is_infeasible() -> None:
    energy = evaluator()(Request(MILD)).measures["energy_mj"]
    got = evaluator(max_energy_mj=energy / 2)(Request(MILD))
    assert (got.state, got.stage) == (State.INFEASIBLE, Stage.FULL)
    assert got.violation == pytest.approx(1.0)
    assert evaluator(max_energy_mj=energy)(Request(MILD)).state is State.COMPLETE


def test_violations_add_up() -> None:
    judge = evaluator(max_energy_mj=1e-3, max_drop=0.02)
    got = judge(Request(RUINED, audited=True))
    excess = got.measures["energy_mj"] / 1e-3 - 1
    assert excess > 0
    assert got.violation == pytest.approx(excess + got.measures["drop"] - 0.02)


@pytest.mark.parametrize(
    "request_",
    [
        Request(FOUR_BITS),
        Request(RUINED),
        Request(MILD, test=True),
        Request(FOUR_BITS, Gate(max_drift=0.01)),
    ],
    ids=["complete", "rejected", "test", "drift"],
)
def test_the_same_request_gives_the_same_bits(request_: Request) -> None:
    judge = evaluator(max_drop=0.05)
    first = judge(request_)
    judge(Request(MILD))  # Nothing that is learned in between changes a result.
    assert untimed(judge(request_)) == untimed(first)
    assert untimed(evaluator(max_drop=0.05)(request_)) == untimed(first)


@pytest.mark.parametrize("candidate", [FOUR_BITS, RUINED, MILD], ids=["bits", "ruined", "mild"])
def test_the_batch_size_changes_nothing_but_the_images_it_took(candidate: Candidate) -> None:
    first, *others = (
        evaluator(max_drop=0.05, batch_size=size)(Request(candidate)) for size in (60, 7, 20)
    )
    for other in others:
        assert (other.state, other.stage) == (first.state, first.stage)
        assert other.rejection == first.rejection
        drifts = {"drift": pytest.approx(first.measures["drift"], abs=1e-6)}
        assert other.measures == {**first.measures, **drifts}
        assert other.answers == first.answers


def test_a_test_evaluation_is_paired_with_the_parent_and_knows_no_gate() -> None:
    judge = evaluator(max_drop=0.0, max_bytes=1, max_energy_mj=1e-9)
    got = judge(Request(RUINED, Gate(4, max_drift=1e-6), test=True))
    answers, parent = right(RUINED, "test"), right(IDENTITY, "test")
    low, high = paired_interval(parent, answers)
    assert got.measures == {
        "accuracy_test": pytest.approx(answers.mean()),
        "n_test": N_TEST,
        "parent_accuracy_test": pytest.approx(parent.mean()),
        "drop_test": pytest.approx(parent.mean() - answers.mean()),
        "drop_low": low,
        "drop_high": high,
    }
    assert low < got.measures["drop_test"] < high
    assert (got.state, got.stage, got.image_evaluations) == (State.COMPLETE, Stage.FULL, N_TEST)
    assert got.rejection is None


def test_the_search_never_looks_at_the_test_images() -> None:
    blueprint = digits_blueprint()
    blank = blueprint.test.take(())
    judge = replace(blueprint, test=blank).build()
    assert judge(Request(MILD)).measures == evaluator()(Request(MILD)).measures


def test_measures_of_the_parent() -> None:
    judge = evaluator()
    identity = judge(Request(IDENTITY)).measures
    parent = judge.parent_measures()
    static = {"parameters", "macs", "state_bytes"}
    assert set(parent) == {*static, "synops", "energy_mj", "energy_literature_mj"}
    assert parent == {name: identity[name] for name in parent}


def test_timing_names_every_stage_that_ran() -> None:
    seconds = evaluator()(Request(MILD)).timing["seconds"]
    assert list(seconds) == ["static", "drift", "subset"]
    assert all(value > 0 for value in seconds.values())


def test_a_candidate_of_another_network_is_refused() -> None:
    stranger = Candidate((("channel", "block.7.mlp.hidden", 4),))
    with pytest.raises(BadInput, match=r"unknown channel site 'block.7.mlp.hidden'"):
        evaluator()(Request(stranger))
    with pytest.raises(BadInput, match="unknown energy preset"):
        evaluator(energy_preset="3nm")


def test_the_trained_network_stays_as_it_was() -> None:
    judge = evaluator()
    before = {name: t.clone() for name, t in judge.network.state_dict().items()}
    for candidate in (FOUR_BITS, MILD, chosen(digits_network(), channel=0.5)):
        judge(Request(candidate))
    judge(Request(MILD, test=True))
    judge.parent_measures()
    assert hooks(judge.network) == 0
    after = judge.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert judge.network.candidate == IDENTITY


def test_search_images_are_shuffled_by_the_blueprints_seed() -> None:
    # What the sequential test relies on; the blueprint keeps answers and images together.
    blueprint, splits = digits_blueprint(), few_digits()
    order = np.random.default_rng(0).permutation(N_SEARCH)
    np.testing.assert_array_equal(blueprint.search.images, splits.search.images[order])
    answers = correct(digits_network(), splits.search, Preprocessing.preset("digits"), 60).numpy()
    np.testing.assert_array_equal(blueprint.search_correct, answers[order])
    assert np.flatnonzero(~answers).tolist() != np.flatnonzero(~answers[order]).tolist()
