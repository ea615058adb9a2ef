from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.optimize import nnls

from spikefront.search.drop_fit import SIGNALS, DropSample, cross_fitted, fit_line


def drawn(count: int, noise: float = 0.0, seed: int = 0) -> list[DropSample]:
    """Drops that follow divergence and disagreement; the other signals say nothing."""
    rng = random.Random(seed)
    samples = []
    for _ in range(count):
        signals = {name: rng.random() for name in SIGNALS}
        drop = 0.1 * signals["kl"] + 0.05 * signals["disagreement"] - 0.01
        samples.append(DropSample(signals, drop + rng.gauss(0, noise), 1.0))
    return samples


def test_a_line_is_found_again():
    line = fit_line(drawn(200))
    weights = dict(line.weights)
    assert weights["kl"] == pytest.approx(0.1, rel=0.02)
    assert weights["disagreement"] == pytest.approx(0.05, rel=0.02)
    assert sum(weights.get(name, 0.0) for name in SIGNALS[2:]) < 0.003
    assert line.offset == pytest.approx(-0.01, abs=0.002)


def test_no_weight_is_negative_and_the_fit_is_the_best_such_one():
    """Against scipy's non-negative least squares, with the same importance and no ridge."""
    samples = [
        DropSample(s.signals, s.drop - 0.08 * s.signals["flips"], 1.0) for s in drawn(300, 0.005)
    ]
    line = fit_line(samples)
    assert all(weight > 0 for _, weight in line.weights)
    importance = np.array([1 / (0.03 + max(s.drop, 0)) for s in samples])
    columns = np.array([[s.signals[n] for n in SIGNALS] + [1.0, -1.0] for s in samples])
    drops = np.array([s.drop for s in samples])
    best, error = nnls(columns * importance[:, None], drops * importance)
    ours = np.array([line.predict(s.signals) for s in samples])
    assert np.linalg.norm((ours - drops) * importance) < 1.01 * error
    assert dict(line.weights)["kl"] == pytest.approx(best[0], rel=0.05)


def test_errors_count_near_no_drop_and_gross_losses_are_all_alike():
    near = drawn(100)
    ruined = [DropSample({**s.signals, "kl": 9.0}, 0.8, 1.0) for s in drawn(100, seed=1)]
    line = fit_line(near + ruined)
    errors = [abs(line.predict(s.signals) - s.drop) for s in near]
    assert np.mean(errors) < 0.03


def test_weights_of_samples_count():
    right, wrong = drawn(50), [DropSample(s.signals, 0.2, 0.001) for s in drawn(50, seed=1)]
    line = fit_line(right + wrong)
    assert line.predict(right[0].signals) == pytest.approx(right[0].drop, abs=0.01)


def test_constant_signals_give_the_mean_drop():
    signals = {str(name): 0.5 for name in SIGNALS}
    line = fit_line([DropSample(signals, drop, 1.0) for drop in (0.02, 0.02, 0.02)])
    assert line.predict(signals) == pytest.approx(0.02)


def test_cross_fitted_predictions_do_not_know_their_own_sample():
    samples = drawn(60)
    changed = [*samples[:-1], DropSample(samples[-1].signals, 0.3, 1.0)]
    before, after = cross_fitted(samples), cross_fitted(changed)
    assert before[-1] == after[-1]
    assert not np.allclose(before[:-1], after[:-1])
