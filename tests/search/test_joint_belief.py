"""What `joint` believes that a candidate loses."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from simulated import SPACES, SimulatedEvaluator
from simulated_search import Setup

from spikefront.evaluators.evaluation import Evaluation, Stage, State
from spikefront.evaluators.paired_answers import PairedAnswers
from spikefront.search.strategies.joint.belief import believed_drops
from spikefront.search.strategies.joint.strategy import Joint
from spikefront.spaces import Candidate


class TestBelief:
    @staticmethod
    def measured(
        entropy: float, drop: float, rng: np.random.Generator, images: int = 2000
    ) -> Evaluation:
        """One in six answers differs; what is lost beyond is as it is asked for."""
        worse = round(images * (1 / 12 + drop / 2))
        better = worse - round(images * drop)
        differences = np.zeros(images, np.int64)
        places = rng.permutation(images)[: worse + better]
        differences[places[:worse]], differences[places[worse:]] = 1, -1
        answers = PairedAnswers.of(differences, np.arange(images))
        measures = {"cross_entropy": entropy, "drop": drop, "n_search": images, "accuracy": 0.7}
        return Evaluation(Candidate(), State.COMPLETE, Stage.FULL, measures, answers=answers)

    def test_luck_is_taken_off(self):
        """Drops scatter by sampling alone: what is believed is nearly the truth."""
        rng = np.random.default_rng(0)
        truth = rng.uniform(0.0, 0.03, 200)
        luck = rng.normal(0, np.sqrt((1 / 6) / 2000), 200)
        found = [self.measured(0.7 + 3 * t, t + e, rng) for t, e in zip(truth, luck, strict=True)]
        believed = believed_drops(found, [True] * 200)
        assert abs(believed - truth).max() < 0.006
        assert abs(luck).max() > 0.02

    def test_what_really_differs_is_believed(self):
        """Where drops scatter far more than sampling explains, measurements count."""
        rng = np.random.default_rng(0)
        drops = rng.normal(0.02, 0.05, 100)
        found = [self.measured(0.7, d, rng) for d in drops]
        believed = believed_drops(found, [True] * 100)
        assert np.corrcoef(believed, drops)[0, 1] > 0.99
        assert abs(believed - drops).max() < 0.01

    def test_those_that_were_let_through_for_their_luck_do_not_draw_the_line(self):
        """Of 400 that lose 0.03, those that measured 0.015 and less; 40 were asked anyway."""
        rng = np.random.default_rng(1)
        error = np.sqrt((1 / 6) / 2000)
        fair = [self.measured(0.7 + 3 * t, t + rng.normal(0, error), rng) for t in [0.0, 0.03] * 20]
        drawn = 0.03 + rng.normal(0, error, 400)
        lucky = [self.measured(0.79, d, rng) for d in drawn[drawn <= 0.015]]
        assert len(lucky) > 10
        believed = believed_drops([*fair, *lucky], [True] * 40 + [False] * len(lucky))
        assert believed[40:].mean() == pytest.approx(0.03, abs=0.005)
        assert believed_drops([*fair, *lucky], [True] * (40 + len(lucky)))[40:].mean() < 0.026

    def test_what_was_not_asked_everything_keeps_its_estimate(self):
        rng = np.random.default_rng(0)
        found = [self.measured(0.7 + 3 * d, d, rng) for d in (0.0, 0.01, 0.02, 0.03, 0.04, 0.05)]
        measures = {"drop": 0.07, "n_search": 300, "accuracy": 0.6}
        partial = Evaluation(Candidate(), State.REJECTED, Stage.SUBSET, measures)
        assert believed_drops([*found, partial], [True] * 7)[-1] == 0.07
        few = [*found[:5], partial]
        assert believed_drops(few, [True] * 6).tolist() == [e.measures["drop"] for e in few]


def test_of_thousands_everything_is_fitted_now_and_then_and_the_outcome_knows_all():
    """From 800 on after every second; what came since then, and was lucky, is not believed."""
    space, rng = SPACES[-1], np.random.default_rng(0)
    draw = random.Random(0)
    strategy = Setup(strategy="joint", evaluator=SimulatedEvaluator(max_drop=0.02)).make_strategy()
    assert isinstance(strategy, Joint)
    fits: list[int] = []
    error = np.sqrt((1 / 6) / 2000)
    known: list[Evaluation] = []
    for number in range(1201):
        lucky = number == 1200
        truth = 0.019 if lucky else 0.03 * draw.random()
        drop = truth - 2 * error if lucky else truth + rng.normal(0, error)
        made = TestBelief.measured(0.7 + 3 * truth, drop, rng)
        candidate = space.sample(draw)
        measures = {**made.measures, "bytes": 1.0 if lucky else 2.0, "kl": 0.1}
        known.append(replace(made, candidate=candidate, measures=measures, audited=True))
        strategy.learn(known[-1])
        fits.append(strategy._fitted)
    assert fits[:399] == list(range(1, 400))
    assert len(set(fits[1000:])) == pytest.approx(100, abs=20)
    assert fits[-1] < 1201
    outcome = strategy.outcome()
    assert outcome is not None and outcome["chosen"] == known[-1].key
    (expected,) = believed_drops(known, [True] * len(known))[-1:]
    assert outcome["believed_drop"] == pytest.approx(expected)
    assert outcome["believed_drop"] > known[-1].measures["drop"] + error
