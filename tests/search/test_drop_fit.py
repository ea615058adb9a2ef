from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import nnls

from spikefront.evaluators.drop_model import LAYER
from spikefront.search.drop_fit import (
    SIGNALS,
    DropSample,
    _non_negative,  # pyright: ignore[reportPrivateUsage]
    cross_fitted,
    fit_line,
)


def drawn(count: int, noise: float = 0.0, seed: int = 0) -> list[DropSample]:
    """Drops that follow divergence and disagreement; the other signals say nothing."""
    rng = random.Random(seed)
    samples = []
    for _ in range(count):
        signals = {name: rng.random() for name in SIGNALS}
        drop = 0.1 * signals["kl"] + 0.05 * signals["disagreement"] - 0.01
        samples.append(DropSample(signals, {}, drop + rng.gauss(0, noise), 1.0))
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
        DropSample(s.signals, {}, s.drop - 0.08 * s.signals["flips"], 1.0)
        for s in drawn(300, 0.005)
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
    ruined = [DropSample({**s.signals, "kl": 9.0}, {}, 0.8, 1.0) for s in drawn(100, seed=1)]
    line = fit_line(near + ruined)
    errors = [abs(line.predict(s.signals) - s.drop) for s in near]
    assert np.mean(errors) < 0.03


def test_weights_of_samples_count():
    right, wrong = drawn(50), [DropSample(s.signals, {}, 0.2, 0.001) for s in drawn(50, seed=1)]
    line = fit_line(right + wrong)
    assert line.predict(right[0].signals) == pytest.approx(right[0].drop, abs=0.01)


def test_constant_signals_give_the_mean_drop():
    signals = {str(name): 0.5 for name in SIGNALS}
    line = fit_line([DropSample(signals, {}, drop, 1.0) for drop in (0.02, 0.02, 0.02)])
    assert line.predict(signals) == pytest.approx(0.02)


def test_cross_fitted_predictions_do_not_know_their_own_sample():
    samples = drawn(60)
    changed = [*samples[:-1], DropSample(samples[-1].signals, {}, 0.3, 1.0)]
    before, after = cross_fitted(samples), cross_fitted(changed)
    assert before[-1] == after[-1]
    assert not np.allclose(before[:-1], after[:-1])


LAYERS = tuple(f"layer.{number}" for number in range(30))


def layered(
    count: int, seed: int = 0, told: str | None = None, noise: float = 0.0
) -> list[DropSample]:
    """Signals that go up and down together; one layer, or divergence alone, tells the drop."""
    rng = random.Random(seed)
    samples = []
    for _ in range(count):
        level = rng.random()
        signals = {name: level * rng.uniform(0.7, 1.3) for name in SIGNALS}
        layers = {name: level * rng.uniform(0.7, 1.3) for name in LAYERS}
        drop = 0.05 * (signals["kl"] if told is None else layers[told])
        samples.append(DropSample(signals, layers, drop + rng.gauss(0, noise), 1.0))
    return samples


def error(line_of: list[DropSample], of: list[DropSample]) -> float:
    line = fit_line(line_of)
    return float(np.mean([abs(line.predict(sample.known) - sample.drop) for sample in of]))


def without_layers(samples: list[DropSample]) -> list[DropSample]:
    return [replace(sample, layers={}) for sample in samples]


def test_a_layer_that_tells_the_drop_is_found_once_there_are_enough_samples():
    samples, fresh = layered(400, told="layer.7"), layered(200, seed=1, told="layer.7")
    weights = dict(fit_line(samples).weights)
    assert max(weights, key=lambda name: weights[name]) == LAYER + "layer.7"
    assert error(samples, fresh) < 0.85 * error(without_layers(samples), without_layers(fresh))


@pytest.mark.parametrize("count", [10, 20, 50])
def test_layers_that_tell_nothing_do_not_harm_few_samples(count: int):
    """Thirty of them, more than there are samples."""
    ratios = []
    for seed in range(20):
        samples = layered(count, seed, noise=0.005)
        fresh = layered(100, 1000 + seed)
        ratios.append(error(samples, fresh) / error(without_layers(samples), without_layers(fresh)))
    assert np.mean(ratios) < 1.05


def test_what_is_known_of_the_layers_bounds_the_prediction_from_below():
    line = fit_line(layered(100, told="layer.3", noise=0.01))
    assert any(name.startswith(LAYER) for name, _ in line.weights)
    for sample in layered(20, seed=2):
        known: dict[str, float] = {}
        bounds = [line.predict(known)]
        for name, value in sample.known.items():
            known[name] = value
            bounds.append(line.predict(known))
        assert bounds == sorted(bounds)
        assert bounds[-1] == line.predict(sample.known)


def test_a_layer_that_some_do_not_have_counts_as_zero_there():
    full = [replace(s, layers={name: s.layers[name] for name in LAYERS[:4]}) for s in layered(60)]
    some = [replace(s, layers={LAYERS[0]: 0.3}) if n % 3 else s for n, s in enumerate(full)]
    filled = [replace(s, layers={**dict.fromkeys(LAYERS[:4], 0.0), **s.layers}) for s in some]
    ours, theirs = dict(fit_line(some).weights), dict(fit_line(filled).weights)
    assert ours == pytest.approx(theirs)


def test_a_layer_that_never_changes_weighs_nothing():
    samples = [replace(s, layers={"same": 0.1 + 1e-16 * n}) for n, s in enumerate(drawn(50, 0.01))]
    line = fit_line(samples)
    assert LAYER + "same" not in dict(line.weights)
    assert dict(line.weights) == pytest.approx(dict(fit_line(drawn(50, 0.01)).weights))


def test_cross_fitted_is_the_line_through_the_other_folds():
    samples = layered(33, told="layer.3", noise=0.01)
    found = cross_fitted(samples)
    for fold in range(5):
        line = fit_line([s for n, s in enumerate(samples) if n % 5 != fold])
        for number in range(fold, 33, 5):
            assert found[number] == pytest.approx(line.predict(samples[number].known), abs=1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_non_negative_weights_are_scipys(seed: int):
    """Columns that are nearly alike, more of them than samples, a small ridge."""
    rng = np.random.default_rng(seed)
    size, count = int(rng.integers(1, 41)), int(rng.integers(2, 60))
    columns = rng.normal(size=(count, size)) * rng.choice([1.0, 0.01]) + rng.normal(size=(count, 1))
    gram = columns.T @ columns / count + np.diag(rng.choice([1e-3, 0.3], size))
    target = columns.T @ rng.normal(size=count) / count
    half = np.linalg.cholesky(gram)
    expected, _ = nnls(half.T, np.linalg.solve(half, target))
    found = _non_negative(gram, target)
    assert (found >= 0).all()
    assert found == pytest.approx(expected, abs=1e-8)
