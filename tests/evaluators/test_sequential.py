from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikefront.evaluators.sequential import DropTest
from spikefront.spaces import BadInput

STREAMS = st.lists(st.sampled_from([-1, 0, 0, 1, 1]), max_size=120)
LIMITS = st.floats(-0.9, 0.9)


def streams(runs: int, length: int, better: float, worse: float, seed: int) -> NDArray[np.int64]:
    """Independent d [runs, length]: 1 with probability `worse`, -1 with `better`."""
    draws = np.random.default_rng(seed).random((runs, length))
    return (draws < worse).astype(np.int64) - (draws > 1 - better)


def stops(data: NDArray[np.int64], limit: float, alpha: float = 0.05) -> list[float]:
    """Images until rejection of each stream, infinity where there is none."""
    found = []
    for stream in data:
        test = DropTest(limit, alpha)
        test.update(stream)
        found.append(test.rejected_at or math.inf)
    return found


def test_evidence_by_hand() -> None:
    # At limit 0 the 19 bets are 0.05, 0.10, …, 0.95: mean 1/2, mean square 0.325.
    test = DropTest(0.0, alpha=0.5)
    test.update([1])
    assert test.evidence == pytest.approx(1.5)
    assert not test.rejected
    test.update([1])
    assert test.evidence == pytest.approx(1 + 2 * 0.5 + 0.325)
    assert test.rejected
    assert (test.rejected_at, test.n, test.estimate) == (2, 2, 1.0)


def test_evidence_by_hand_with_a_limit() -> None:
    # The bets are 1.25 times smaller: mean 0.4; the gain on d = 1 is 0.75.
    test = DropTest(0.25)
    test.update([1])
    assert test.evidence == pytest.approx(1 + 0.4 * 0.75)
    negative = DropTest(-0.5)  # mean bet 1; the gain on d = 0 is 0.5
    negative.update([0])
    assert negative.evidence == pytest.approx(1.5)


def test_evidence_is_the_highest_so_far_and_starts_at_one() -> None:
    test = DropTest(0.0)
    assert (test.evidence, test.n, test.estimate, test.rejected_at) == (1.0, 0, 0.0, None)
    test.update([-1, -1])
    assert test.evidence == 1.0
    test = DropTest(0.0)
    test.update([1, -1, -1])
    assert test.evidence == pytest.approx(1.5)
    assert test.estimate == pytest.approx(-1 / 3)


@pytest.mark.parametrize("limit", [0.0, 0.015, -0.1])
def test_error_rate_at_the_boundary(limit: float) -> None:
    runs, alpha = 1000, 0.05
    data = streams(runs, 600, better=0.12 - limit / 2, worse=0.12 + limit / 2, seed=11)
    rate = np.isfinite(stops(data, limit, alpha)).mean()
    assert rate <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
    # The test is not idle: it does use up some of its alpha.
    assert rate > 0


def test_error_rate_at_the_boundary_of_a_finite_split_in_random_order() -> None:
    # What a search does: all of a split once, the drop on the whole of it exactly at the limit.
    split = np.repeat([1, -1, 0], [100, 70, 1830])
    shuffle = np.random.default_rng(15).permutation
    rate = np.isfinite(stops(np.array([shuffle(split) for _ in range(400)]), 0.015)).mean()
    assert rate <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_a_grossly_worse_candidate_goes_early() -> None:
    data = streams(200, 400, better=0.03, worse=0.23, seed=12)
    found = stops(data, 0.015)
    assert np.median(found) <= 60
    assert np.isfinite(found).all()


def test_a_slightly_worse_candidate_goes_before_2000_images() -> None:
    data = streams(60, 2000, better=0.03, worse=0.08, seed=13)
    assert np.isfinite(stops(data, 0.015)).mean() > 0.8


def test_an_equal_candidate_practically_stays() -> None:
    data = streams(300, 1000, better=0.05, worse=0.05, seed=14)
    assert np.isfinite(stops(data, 0.015)).mean() <= 0.02


def test_a_candidate_with_all_the_same_answers_is_never_rejected() -> None:
    test = DropTest(0.015)
    test.update(np.zeros(50_000, np.int64))
    assert not test.rejected
    assert test.evidence == 1.0
    assert test.n == 50_000


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 120), max_size=5), limit=LIMITS)
def test_verdict_does_not_depend_on_batches(
    stream: list[int], cuts: list[int], limit: float
) -> None:
    whole, parts = DropTest(limit), DropTest(limit)
    whole.update(np.array(stream, np.int64))
    edges = sorted({0, *(min(cut, len(stream)) for cut in cuts), len(stream)})
    for start, end in pairwise(edges):
        parts.update(np.array(stream[start:end], np.int64))
    for name in ("rejected", "rejected_at", "evidence", "estimate", "n"):
        assert getattr(parts, name) == getattr(whole, name)


@given(stream=STREAMS, limit=LIMITS)
def test_rejection_comes_with_the_first_evidence_over_the_threshold(
    stream: list[int], limit: float
) -> None:
    test = DropTest(limit)
    bets = np.linspace(0.05, 0.95, 19) / (1 + limit)
    wealth, first = np.ones(19), None
    for number, d in enumerate(stream, start=1):
        wealth *= 1 + bets * (d - limit)
        if first is None and wealth.mean() >= test.threshold:
            first = number
    test.update(np.array(stream, np.int64))
    assert test.rejected_at == first


def test_what_follows_a_rejection_changes_neither_verdict_nor_evidence() -> None:
    test = DropTest(0.0)
    test.update([1] * 10)
    stopped = (test.rejected_at, test.evidence)
    test.update([-1] * 500 + [1] * 900)
    assert test.rejected
    assert (test.rejected_at, test.evidence) == stopped
    assert test.n == 1410
    assert test.evidence >= test.threshold == pytest.approx(20)


def test_an_empty_batch_and_one_longer_than_a_scan() -> None:
    test = DropTest(0.0)
    test.update(np.zeros(0, np.int64))
    assert test.n == 0
    test.update(np.r_[np.zeros(5000, np.int64), np.ones(20, np.int64)])
    assert test.rejected
    assert test.rejected_at is not None
    assert 5000 < test.rejected_at <= 5020


@pytest.mark.parametrize("limit", [-1.0, 1.0, math.nan])
def test_impossible_limits_are_refused(limit: float) -> None:
    with pytest.raises(BadInput, match="limit"):
        DropTest(limit)


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan])
def test_impossible_error_rates_are_refused(alpha: float) -> None:
    with pytest.raises(BadInput, match="alpha"):
        DropTest(0.0, alpha)


@pytest.mark.parametrize("differences", [[2], [0.5], [[0, 1]], [math.nan]])
def test_other_values_are_refused(differences: list[float]) -> None:
    test = DropTest(0.0)
    with pytest.raises(BadInput, match="give one row of -1, 0 and 1"):
        test.update(differences)
    assert test.n == 0
