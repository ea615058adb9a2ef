"""Error rate, bias and power of the sequential test under orders of all kinds, by simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from spikefront.evaluators.image_order import Draw, ImageOrder, draw_images
from spikefront.evaluators.sequential import DropTest

IMAGES, LIMIT, ALPHA = 400, 0.015, 0.05
RIGHT = np.arange(IMAGES) >= 40
"""The parent errs on the first 40 images."""


def candidate(worse: Sequence[int], better: Sequence[int]) -> NDArray[np.int64]:
    d = np.zeros(IMAGES, np.int64)
    d[list(worse)], d[list(better)] = 1, -1
    return d


AT_LIMIT = candidate(range(40, 76), range(30))
"""36 lost, 30 won: a drop of exactly 0.015."""


def orders() -> dict[str, ImageOrder]:
    """Orders that may have been learned, some of them from this very candidate, or by an enemy."""
    source = np.random.default_rng(1)
    worse, better = AT_LIMIT > 0, AT_LIMIT < 0
    weights = {
        "losses first": np.where(worse, 50.0, 1.0),
        "gains first": np.where(better, 50.0, 1.0),
        "losses first, gains last": np.where(worse, 50.0, np.where(better, 1.0, 7.0)),
        "a few losses last": np.where(np.cumsum(worse) % 4 == 1, 1.0, 20.0),
        "differing first": np.where(AT_LIMIT != 0, 20.0, 1.0),
        "at random": source.lognormal(0, 1.5, IMAGES),
    }
    return {"alike": ImageOrder()} | {
        name: ImageOrder.of(8, 3, given) for name, given in weights.items()
    }


def heard(d: NDArray[np.int64], draw: Draw, alpha: float = ALPHA) -> DropTest:
    test = DropTest(LIMIT, draw.weights, draw.parent_right, alpha)
    test.update(d[draw.order])
    return test


@pytest.mark.parametrize("name", orders())
def test_error_rate_at_the_limit(name: str) -> None:
    runs, order = 1500, orders()[name]
    wrong = sum(
        heard(AT_LIMIT, draw_images(order, f"{run}", RIGHT)).rejected for run in range(runs)
    )
    assert wrong / runs <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


def test_error_rate_where_the_order_is_not_even_lifted() -> None:
    """The bare test: what the parent has wrong may be the lightest of all."""
    runs, source = 1500, np.random.default_rng(4)
    weights = np.where(AT_LIMIT > 0, 50.0, np.where(AT_LIMIT < 0, 1.0, 5.0))
    wrong = 0
    for _ in range(runs):
        drawn = np.argsort(source.standard_exponential(IMAGES) / weights)
        wrong += heard(AT_LIMIT, Draw(drawn, weights[drawn], RIGHT[drawn])).rejected
    assert wrong / runs <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


def test_the_test_is_not_idle() -> None:
    """Some of alpha is used up, or the error rates above would prove little."""
    wrong = sum(
        heard(AT_LIMIT, draw_images(ImageOrder(), f"{k}", RIGHT)).rejected for k in range(1500)
    )
    assert wrong > 10


@pytest.mark.parametrize("name", orders())
def test_the_estimate_is_unbiased_at_a_number_fixed_beforehand(name: str) -> None:
    d, runs = candidate(range(40, 120), range(0, 40, 2)), 3000
    means, plain = np.zeros(runs), np.zeros(runs)
    for run in range(runs):
        draw = draw_images(orders_cached(name), f"{run}", RIGHT)
        test = DropTest(0.99, draw.weights, draw.parent_right)
        test.update(d[draw.order[:60]])
        means[run], plain[run] = test.mean, d[draw.order[:60]].mean()
    error = means.std() / math.sqrt(runs)
    assert abs(means.mean() - d.mean()) < 4 * error
    if name == "losses first":
        # What it replaces: the mean of disputed images is no estimate of the drop.
        assert abs(plain.mean() - d.mean()) > 0.1


def orders_cached(name: str, known: dict[str, ImageOrder] = orders()) -> ImageOrder:  # noqa: B008
    return known[name]


def test_the_estimate_at_a_rejection_is_nearer_than_the_mean_of_disputed_images() -> None:
    d = candidate(range(40, 90), range(6))
    order = ImageOrder.of(8, 0, np.where(d != 0, 6.0, 1.0))
    estimates, plain = [], []
    for run in range(400):
        draw = draw_images(order, f"{run}", RIGHT)
        test = heard(d, draw)
        assert test.rejected_at is not None
        estimates.append(test.estimate)
        plain.append(d[draw.order[: test.rejected_at]].mean())
    weighted, raw = (abs(np.mean(each) - d.mean()) for each in (estimates, plain))
    assert weighted < raw / 3


def test_a_learned_order_takes_fewer_images_where_candidates_differ_on_the_same() -> None:
    source = np.random.default_rng(6)
    hardness = source.lognormal(0, 2.0, IMAGES)
    rates = hardness / hardness.sum()

    def candidate_of(lost: int) -> NDArray[np.int64]:
        d = np.zeros(IMAGES, np.int64)
        chance = np.where(RIGHT, rates, 0)
        d[source.choice(IMAGES, lost, replace=False, p=chance / chance.sum())] = 1
        return d

    seen = np.array([candidate_of(30) for _ in range(16)])
    learned = ImageOrder.of(16, 2, seen.sum(axis=0) + 1.0)
    stops: dict[str, list[int]] = {"alike": [], "learned": []}
    for run in range(150):
        d = candidate_of(25)
        for name, order in (("alike", ImageOrder()), ("learned", learned)):
            stops[name].append(heard(d, draw_images(order, f"{run}", RIGHT)).rejected_at or IMAGES)
    assert np.median(stops["learned"]) < 0.85 * np.median(stops["alike"])
