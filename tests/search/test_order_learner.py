"""The image order that a search learns: rates, versions, and the same one after every resume."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from simulated import SimulatedEvaluator, share
from simulated_search import Setup, digest, run
from typing_extensions import override

from spikefront.evaluators.evaluation import Evaluation, Request, Stage, State
from spikefront.evaluators.image_order import ImageOrder
from spikefront.evaluators.paired_answers import PairedAnswers
from spikefront.search.config_sections import GateSection
from spikefront.search.image_order import OrderLearner
from spikefront.spaces import Candidate

IMAGES = 50
HARD = np.arange(IMAGES) % 5 == 0


def answered(number: int, differences: np.ndarray, seen: np.ndarray | None = None) -> Evaluation:
    rows = np.arange(len(differences)) if seen is None else seen
    answers = PairedAnswers.of(differences.astype(np.int64), rows)
    candidate = Candidate((("weight", f"layer.{number}", 2),))
    return Evaluation(candidate, State.COMPLETE, Stage.FULL, answers=answers)


def learned(evaluations: list[Evaluation], seed: int = 0) -> list[ImageOrder]:
    """The order after each commit."""
    learner, found = OrderLearner(seed), []
    for evaluation in evaluations:
        learner.update(evaluation)
        found.append(learner.current)
    return found


def on_hard_images(count: int, seed: int = 0) -> list[Evaluation]:
    """Candidates that lose half of the hard images and a tenth of the others, or win them."""
    draws = np.random.default_rng(seed).random((count, IMAGES))
    signs = np.where(np.arange(IMAGES) % 10 == 0, -1, 1)
    return [answered(n, signs * (row < np.where(HARD, 0.5, 0.1))) for n, row in enumerate(draws)]


def test_versions_follow_after_8_16_32_commits_with_fresh_seeds() -> None:
    orders = learned(on_hard_images(70))
    assert orders[:7] == [ImageOrder()] * 7
    assert [order.version for order in orders[7:]] == [8] * 8 + [16] * 16 + [32] * 32 + [64] * 7
    assert len({order.seed for order in orders}) == 5
    assert learned(on_hard_images(8), seed=1)[-1].seed != orders[7].seed


def test_images_on_which_candidates_differ_weigh_more() -> None:
    weights = learned(on_hard_images(64))[-1].weights(IMAGES)
    assert 3 < weights[HARD].mean() / weights[~HARD].mean() < 6  # truly 5
    assert weights[HARD].min() > weights[~HARD].max()


def test_weights_by_hand() -> None:
    # On four images: all differ on the first, one of them on all, which says as little as none.
    some, all_ = np.array([1, 0, 0, 0]), np.array([1, 1, -1, 1])
    same = answered(9, np.zeros(4))
    given = [answered(n, some) for n in range(6)] + [answered(7, all_), same]
    weights = learned(given)[-1].weights(4)
    # 6 * 4 + 1 and 1, of 7 asked each, with one for the prior: 26 / 8 and 2 / 8.
    assert weights[0] / weights[1] == pytest.approx(13, rel=0.15)
    assert (weights[1:] == weights[1]).all()


def test_what_was_seen_in_part_counts_for_that_part_only() -> None:
    """Candidates stopped early were asked the hard images first; that must not skew the rates."""
    full = on_hard_images(64)
    hard_first = np.r_[np.flatnonzero(HARD), np.flatnonzero(~HARD)[:10]]
    part = [
        e if n % 2 else answered(n, e.answers.worse * 1 - e.answers.better * 1, hard_first)
        for n, e in enumerate(full)
        if e.answers is not None
    ]
    both = [learned(each)[-1].weights(IMAGES) for each in (full, part)]
    ratios = [weights[HARD].mean() / weights[~HARD].mean() for weights in both]
    assert ratios[1] == pytest.approx(ratios[0], rel=0.25)


def test_evaluations_without_answers_only_count_as_commits() -> None:
    blank = [replace(e, answers=None) for e in on_hard_images(20)]
    assert set(learned(blank)) == {ImageOrder()}
    late = learned([*blank, *on_hard_images(12)])
    assert [order.version for order in late[19:]] == [0] * 12 + [32]


def test_too_many_images_for_a_message_stay_alike() -> None:
    many = [answered(n, np.ones(80_001)) for n in range(8)]
    assert learned(many)[-1] == ImageOrder()


@dataclass(frozen=True)
class Answering(SimulatedEvaluator):
    """Says which images a candidate lost, made up from its key."""

    @override
    def __call__(self, request: Request) -> Evaluation:
        evaluation = super().__call__(request)
        if evaluation.stage not in (Stage.SUBSET, Stage.FULL):
            return evaluation
        key = request.candidate.key
        lost = [share(key, f"{n}") < (0.6 if HARD[n] else 0.1) for n in range(IMAGES)]
        seen = np.arange(IMAGES if evaluation.stage is Stage.FULL else IMAGES // 2)
        return replace(evaluation, answers=PairedAnswers.of(np.array(lost) * 1, seen))


SETUP = Setup(window=5, evaluator=Answering(failing=0.1)).with_budget(40)


def orders_sent(setup: Setup, path: Path, workers: int = 1) -> dict[int, ImageOrder]:
    backend = setup.make_backend(workers=workers, seed=workers)
    run(setup, path, backend)
    return {task: request.gate.order for task, request in backend.requests}


def test_the_order_sent_along_follows_from_the_commits_known(tmp_path: Path) -> None:
    sent = orders_sent(SETUP, tmp_path / "one")
    versions = [sent[k].version for k in range(40)]
    # Suggestion k knows the commits up to k - 5.
    assert versions == [0] * 12 + [8] * 8 + [16] * 16 + [32] * 4
    assert orders_sent(SETUP, tmp_path / "many", workers=7) == sent
    assert digest(tmp_path / "many") == digest(tmp_path / "one")


def test_a_resumed_search_sends_the_identical_orders(tmp_path: Path) -> None:
    sent = orders_sent(SETUP, tmp_path / "whole")
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    for kept in (10, 30, 47, len(lines) - 3):
        (tmp_path / "part").write_bytes(b"".join(lines[:kept]))
        again = orders_sent(SETUP, tmp_path / "part")
        assert again == {task: sent[task] for task in again}
        assert len(again) >= 1
        assert digest(tmp_path / "part") == digest(tmp_path / "whole")


def test_switched_off_all_images_stay_alike(tmp_path: Path) -> None:
    plain = replace(SETUP, gate=GateSection(learn_order=False))
    assert set(orders_sent(plain, tmp_path / "plain").values()) == {ImageOrder()}
    without_drift = replace(SETUP, gate=GateSection(enabled=False))
    assert len(set(orders_sent(without_drift, tmp_path / "order").values())) == 4
