"""The sequential test by hand, against exact enumeration and against the test for i.i.d. draws."""

from __future__ import annotations

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikefront.evaluators.sequential import DropTest
from spikefront.spaces import BadInput

SHARES = np.linspace(0.05, 0.95, 19)
LIMITS = st.floats(-0.9, 0.9)
DRAWN = st.lists(st.sampled_from([(-1, 0), (0, 0), (0, 1), (1, 1)]), min_size=1, max_size=60)
"""Pairs of d and whether the parent is right, in the order drawn."""


def alike(images: int) -> NDArray[np.float64]:
    return np.ones(images)


def seen_all(
    differences: NDArray[np.int64],
    limit: float,
    alpha: float = 0.05,
    weights: NDArray[np.float64] | None = None,
) -> DropTest:
    """Test that has seen all; the parent is right wherever it can be."""
    given_ = alike(len(differences)) if weights is None else weights
    test = DropTest(limit, given_, differences >= 0, alpha)
    test.update(differences)
    return test


def split(worse: int, better: int, images: int) -> NDArray[np.int64]:
    return np.repeat([1, -1, 0], [worse, better, images - worse - better])


def stop_of_the_former_test(stream: NDArray[np.int64], limit: float) -> int:
    """Images that the e-process for i.i.d. draws takes until it rejects; all where it does not."""
    factors = 1 + SHARES / (1 + limit) * (stream[:, None] - limit)
    over = np.flatnonzero(np.cumprod(factors, axis=0).mean(axis=1) >= 20)
    return int(over[0]) + 1 if len(over) else len(stream)


def test_evidence_by_hand() -> None:
    # Eight images alike, the parent wrong on one. First: Z = 1, at worst -1.
    test = DropTest(0.25, alike(8), np.arange(8) != 4, alpha=0.01)
    test.update([1])
    assert test.evidence == pytest.approx((1 + SHARES * 0.75 / 1.25).mean())
    # Second: Z = 7/8 + 1/8, at worst -7/8 + 1/8; 7/8 are left, so the shares have grown by 8/7.
    test.update([1])
    second = np.minimum(SHARES * 8 / 7, 0.95) * 0.75 / 1.0
    assert test.evidence == pytest.approx(((1 + SHARES * 0.6) * (1 + second)).mean())
    assert (test.n, test.mean, test.rejected) == (2, 1.0, False)


def test_bets_stay_of_use_where_hardly_anything_speaks_for_a_candidate() -> None:
    # The parent is right on all: 1 / 0.01 were allowed, the shares are of 6.
    test = DropTest(0.01, alike(1000), np.ones(1000, np.bool_))
    test.update([1])
    assert test.evidence == pytest.approx((1 + 6 * SHARES * 0.99).mean())


def test_evidence_by_hand_with_weights_and_a_limit() -> None:
    weights, right = np.array([3.0, 1.0, 2.0]), np.array([True, False, True])
    test = DropTest(0.1, weights, right, alpha=1e-9)
    test.update([1])
    # q = 3/6: Z = 1 / (3 * 1/2); the wrong one could have taken away 1 / (3 * 1/6) = 2.
    assert test.mean == pytest.approx(2 / 3)
    assert test.evidence == pytest.approx((1 + SHARES * (2 / 3 - 0.1) / (0.1 + 2)).mean())
    test.update([-1])
    # q = 1/3: Z = -1 / (3 * 1/3) + 1/3 = -2/3.
    assert test.mean == pytest.approx(0.0)
    test.update([0])
    # Z = 0; the mean of all Z is D as well here.
    assert (test.mean, test.estimate) == (pytest.approx(0.0), pytest.approx(0.0))


def test_nothing_is_known_before_the_first_image() -> None:
    test = DropTest(0.0, alike(3), np.ones(3, np.bool_))
    test.update(np.zeros(0, np.int64))
    assert (test.evidence, test.n, test.mean, test.estimate) == (1.0, 0, 0.0, 0.0)
    assert (test.rejected, test.rejected_at) == (False, None)


def drawn_with(order: tuple[int, ...], weights: NDArray[np.float64]) -> float:
    """Probability of an order of drawing without replacement, step by step."""
    chance, left = 1.0, float(weights.sum())
    for image in order:
        chance *= weights[image] / left
        left -= weights[image]
    return chance


@pytest.mark.parametrize("seed", range(6))
def test_every_order_of_a_few_images(seed: int) -> None:
    """Exact: mean of the estimate, and the error rate where the drop is just within the limit."""
    source = np.random.default_rng(seed)
    d = source.permutation([1, 1, -1, 0, 0, 1 - seed % 2])
    weights = source.choice([1.0, 2.0, 7.0, 30.0], 6)
    means, wrong = np.zeros(6), {0.5: 0.0, 0.25: 0.0, 0.1: 0.0}
    total = 0.0
    for order in permutations(range(6)):
        drawn = list(order)
        chance = drawn_with(order, weights)
        total += chance
        for count in range(1, 7):
            free = DropTest(0.99, weights[drawn], d[drawn] >= 0)
            free.update(d[drawn][:count])
            means[count - 1] += chance * free.mean
        for alpha in wrong:
            test = seen_all(d[drawn], float(d.mean()), alpha, weights[drawn])
            wrong[alpha] += chance * test.rejected
    assert total == pytest.approx(1.0)
    np.testing.assert_allclose(means, d.mean(), atol=1e-12)
    assert all(rate <= alpha + 1e-12 for alpha, rate in wrong.items())
    assert wrong[0.5] > 0 or seed in (1, 3, 5)


@given(drawn=DRAWN, limit=LIMITS)
def test_after_all_images_the_verdict_is_exact(drawn: list[tuple[int, int]], limit: float) -> None:
    d, right = np.array(drawn).T
    test = DropTest(limit, np.linspace(1, 9, len(d)), right.astype(np.bool_), alpha=1e-300)
    test.update(d)
    assert test.rejected == (d.sum() > (limit + 1e-9) * len(d))
    if not test.rejected:
        assert test.estimate == d.mean()


def test_what_was_counted_decides() -> None:
    # Two of ten may be lost; the parent is wrong on one, which still may make up for one loss.
    right = np.ones(10, np.bool_)
    right[9] = False
    test = DropTest(0.2, alike(10), right, alpha=1e-12)
    test.update([1, 1, 1])
    assert not test.rejected
    test.update([0, 0, 1])
    assert (test.rejected_at, test.evidence) == (6, math.inf)
    # Without one it is surely within the limit, whatever the bets say.
    lenient = DropTest(0.2, alike(10), np.ones(10, np.bool_), alpha=0.999)
    lenient.update([1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    assert not lenient.rejected or lenient.rejected_at == 1


@given(drawn=DRAWN, limit=LIMITS, alpha=st.sampled_from([0.05, 0.5, 0.9]), seed=st.integers(0, 9))
def test_a_rejected_one_is_estimated_beyond_the_limit(
    drawn: list[tuple[int, int]], limit: float, alpha: float, seed: int
) -> None:
    d, right = np.array(drawn).T
    weights = np.random.default_rng(seed).uniform(0.02, 1, len(d))
    test = DropTest(limit, weights, right.astype(np.bool_), alpha)
    test.update(d)
    assert test.rejected <= (test.estimate > limit)
    assert -1 <= test.estimate <= 1 or not test.rejected


@pytest.mark.parametrize(
    ("worse", "better"), [(460, 60), (160, 60), (130, 60), (130, 1), (1000, 400)]
)
def test_never_later_than_the_former_test_where_all_weigh_alike(worse: int, better: int) -> None:
    found = []
    population = split(worse, better, 2000)
    for seed in range(40):
        stream = np.random.default_rng(seed).permutation(population)
        ours = seen_all(stream, 0.015).rejected_at or len(stream)
        found.append((ours, stop_of_the_former_test(stream, 0.015)))
    ours, former = np.array(found).T
    assert np.mean(ours <= former) > 0.9
    if worse - better <= 100:
        assert np.median(ours) < 0.9 * np.median(former)


def test_a_candidate_with_all_the_same_answers_is_never_rejected() -> None:
    test = seen_all(np.zeros(50_000, np.int64), 0.015)
    assert (test.rejected, test.evidence, test.n) == (False, 1.0, 50_000)


@given(drawn=DRAWN, cuts=st.lists(st.integers(0, 60), max_size=5), limit=LIMITS)
def test_verdict_does_not_depend_on_batches(
    drawn: list[tuple[int, int]], cuts: list[int], limit: float
) -> None:
    d, right = np.array(drawn).T
    weights = np.random.default_rng(len(d)).uniform(0.02, 1, len(d))
    whole, parts = (DropTest(limit, weights, right.astype(np.bool_)) for _ in range(2))
    whole.update(d)
    for start, end in pairwise(sorted({0, *(min(cut, len(d)) for cut in cuts), len(d)})):
        parts.update(d[start:end])
    for name in ("rejected", "rejected_at", "evidence", "mean", "estimate", "n"):
        assert getattr(parts, name) == getattr(whole, name)


@given(drawn=DRAWN, limit=LIMITS)
def test_rejection_comes_with_the_first_evidence_over_the_threshold(
    drawn: list[tuple[int, int]], limit: float
) -> None:
    """A plain loop over images, bet by bet."""
    d, right = np.array(drawn).T
    images = len(d)
    weights = np.random.default_rng(images).uniform(0.1, 1, images)
    wealth, lost, first = np.ones(19), 0, None
    for at in range(images):
        left = weights[at:].sum()
        wrong = [weights[k] for k in range(at, images) if not right[k]]
        worst = lost / images - (left / (images * min(wrong)) if wrong else 0)
        z = d[at] * left / (images * weights[at]) + lost / images
        room = max(limit - worst, 0.5 / images)
        bets = np.minimum(SHARES * min(1 / room, 6) * images / (images - at), 0.95 / room)
        wealth = wealth * (1 + bets * (z - limit))
        lost += d[at]
        allowed = (limit + 1e-9) * images
        certain = lost - (~right[at + 1 :].astype(np.bool_)).sum() > allowed
        possible = lost + right[at + 1 :].sum() > allowed
        if first is None and (certain or (wealth.mean() >= 20 and possible)):
            first = at + 1
    test = DropTest(limit, weights, right.astype(np.bool_))
    test.update(d)
    assert test.rejected_at == first


def test_what_follows_a_rejection_changes_neither_verdict_nor_evidence() -> None:
    right = np.r_[np.ones(1000, np.bool_), np.zeros(500, np.bool_)]
    test = DropTest(0.0, alike(1500), right)
    test.update([1] * 20)
    stopped = (test.rejected_at, test.evidence, test.mean, test.estimate)
    test.update([0] * 980 + [-1] * 500)
    assert (test.rejected_at, test.evidence, test.mean, test.estimate) == stopped
    assert test.n == 1500
    assert test.evidence >= test.threshold == pytest.approx(20)


@pytest.mark.parametrize("limit", [-1.0, 1.0, math.nan])
def test_impossible_limits_are_refused(limit: float) -> None:
    with pytest.raises(BadInput, match="limit"):
        DropTest(limit, alike(2), np.ones(2, np.bool_))


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan])
def test_impossible_error_rates_are_refused(alpha: float) -> None:
    with pytest.raises(BadInput, match="alpha"):
        DropTest(0.0, alike(2), np.ones(2, np.bool_), alpha)


@pytest.mark.parametrize("differences", [[2], [0.5], [[0, 1]], [math.nan]])
def test_other_values_are_refused(differences: list[float]) -> None:
    test = DropTest(0.0, alike(2), np.ones(2, np.bool_))
    with pytest.raises(BadInput, match="give one row of -1, 0 and 1"):
        test.update(differences)
    assert test.n == 0


@pytest.mark.parametrize("differences", [[-1], [0, 1]])
def test_differences_that_the_parent_rules_out_are_refused(differences: list[int]) -> None:
    test = DropTest(0.0, alike(2), np.array([True, False]))
    with pytest.raises(BadInput, match="do not fit"):
        test.update(differences)


def test_more_images_than_there_are_are_refused() -> None:
    with pytest.raises(BadInput, match="more than 2 images"):
        DropTest(0.0, alike(2), np.ones(2, np.bool_)).update([0, 0, 0])
