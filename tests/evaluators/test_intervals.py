from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefront.evaluators.intervals import paired_interval, tango_interval, wilson_interval
from spikefront.spaces import BadInput


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [  # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_matches_published_values(k: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(k, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("lost", "gained", "n", "low", "high"),
    [  # Fagerland, Lydersen, Laake, Statistical Analysis of Contingency Tables (2017), ch. 8
        (1, 7, 21, -0.517, -0.026),  # airway hyper-responsiveness, Bentur et al. 2009
        (6, 16, 161, -0.124, -0.0054),  # complete response, Cavo et al. 2012
    ],
)
def test_tango_matches_published_values(
    lost: int, gained: int, n: int, low: float, high: float
) -> None:
    assert tango_interval(lost, gained, n) == pytest.approx((low, high), abs=5e-4)


def test_equal_answers_have_the_known_closed_form() -> None:
    z2 = 1.959963984540054**2
    low, high = tango_interval(0, 0, 100)
    assert high == pytest.approx(z2 / (100 + z2), abs=1e-9)
    assert low == pytest.approx(-high, abs=1e-9)


def test_extreme_answers_end_at_one() -> None:
    low, high = tango_interval(5, 0, 5)
    assert (0 < low < 1, high) == (True, 1.0)
    assert tango_interval(0, 5, 5) == pytest.approx((-1.0, -low))


def test_limits_are_where_mcnemars_statistic_says() -> None:
    # At a difference of 0 the score is McNemar's (b - c) / sqrt(b + c): 0 is a limit of the
    # interval whose quantile equals it.
    z = (30 - 20) / math.sqrt(50)
    level = math.erf(z / math.sqrt(2))
    assert tango_interval(30, 20, 1000, level)[0] == pytest.approx(0, abs=1e-9)


def test_paired_interval_counts_disagreements() -> None:
    parent = np.array([1, 1, 1, 0, 0, 1, 0, 1], bool)
    candidate = np.array([1, 0, 0, 1, 0, 0, 0, 1], bool)
    assert paired_interval(parent, candidate) == tango_interval(3, 1, 8)
    assert paired_interval(parent.astype(int), candidate, 0.8) == tango_interval(3, 1, 8, 0.8)


@given(
    counts=st.tuples(*[st.integers(0, 300)] * 3).filter(lambda c: sum(c) > 0),
    level=st.floats(0.5, 0.999),
)
def test_tango_contains_the_estimate_and_mirrors(
    counts: tuple[int, int, int], level: float
) -> None:
    lost, gained, same = counts
    n = lost + gained + same
    low, high = tango_interval(lost, gained, n, level)
    assert -1 <= low <= (lost - gained) / n <= high <= 1
    assert low < high
    mirrored = tango_interval(gained, lost, n, level)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize(("better", "worse"), [(0.05, 0.05), (0.02, 0.10), (0.0, 0.03)])
def test_coverage_is_near_the_level(better: float, worse: float) -> None:
    runs, n = 3000, 200
    counts = np.random.default_rng(5).multinomial(n, [worse, better, 1 - worse - better], runs)
    distinct, times = np.unique(counts, axis=0, return_counts=True)
    covered = 0
    for (lost, gained, _), repeats in zip(distinct, times, strict=True):
        low, high = tango_interval(int(lost), int(gained), n)
        covered += int(repeats) * (low <= worse - better <= high)
    # Counts are whole numbers, so that the exact coverage is not quite the level either.
    assert 0.93 <= covered / runs <= 0.985


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(k: int, n: int) -> None:
    with pytest.raises(BadInput, match="right of"):
        wilson_interval(k, n)


@pytest.mark.parametrize(("lost", "gained", "n"), [(0, 0, 0), (-1, 0, 5), (3, 3, 5)])
def test_impossible_pairs_are_refused(lost: int, gained: int, n: int) -> None:
    with pytest.raises(BadInput, match="counts must add up"):
        tango_interval(lost, gained, n)


@pytest.mark.parametrize(
    ("parent", "candidate"), [([1, 0], [1]), ([], []), ([[1]], [[1]]), ([1, 2], [0, 1])]
)
def test_unusable_answers_are_refused(parent: list[int], candidate: list[int]) -> None:
    with pytest.raises(BadInput, match="answers"):
        paired_interval(parent, candidate)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_impossible_levels_are_refused(level: float) -> None:
    with pytest.raises(BadInput, match="level"):
        wilson_interval(1, 2, level)
