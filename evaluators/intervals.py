"""Confidence intervals for accuracies, and for their difference on the same images."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from ..spaces.errors import BadInput


def wilson_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion (E. B. Wilson, JASA 22 (1927) 209-212).

    Args:
        k: number right.
        n: number of images.
        level: confidence level.

    Returns:
        (low, high), fractions in [0, 1].

    Raises:
        BadInput: not 0 <= k <= n, n below 1, or a level out of (0, 1).
    """
    if n < 1 or not 0 <= k <= n:
        raise BadInput(f"{k} right of {n}; give at least one image and 0 <= k <= n.")
    z = _quantile(level)
    share = k / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    # The exact limits at k = 0 and k = n, which rounding would miss.
    return (0.0 if k == 0 else center - half, 1.0 if k == n else center + half)


def paired_interval(
    parent_correct: ArrayLike, candidate_correct: ArrayLike, level: float = 0.95
) -> tuple[float, float]:
    """Interval of accuracy(parent) - accuracy(candidate) from answers on the same images.

    Tango's score interval for paired proportions (T. Tango, Statistics in Medicine 17 (1998)
    891-908): all differences that a score test does not reject. It stays inside [-1, 1], has a
    width above 0 even where both answer alike, and agrees with McNemar's test about 0.

    Args:
        parent_correct: [n] of truth values, one per image.
        candidate_correct: the same of the candidate, in the same order.
        level: confidence level.

    Returns:
        (low, high), fractions in [-1, 1].

    Raises:
        BadInput: no images, unlike shapes, other values than 0 and 1, or a level out of (0, 1).
    """
    parent, candidate = np.asarray(parent_correct), np.asarray(candidate_correct)
    if parent.ndim != 1 or parent.shape != candidate.shape or not len(parent):
        raise BadInput(
            f"answers of shapes {parent.shape} and {candidate.shape}; give two rows of one length."
        )
    if not (np.isin(parent, (0, 1)).all() and np.isin(candidate, (0, 1)).all()):
        raise BadInput("answers other than right (1) and wrong (0); give truth values.")
    parent, candidate = parent.astype(bool), candidate.astype(bool)
    lost = int((parent & ~candidate).sum())
    gained = int((candidate & ~parent).sum())
    return tango_interval(lost, gained, len(parent), level)


def tango_interval(lost: int, gained: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """`paired_interval` from counts: right by the parent alone, by the candidate alone, images."""
    if n < 1 or lost < 0 or gained < 0 or lost + gained > n:
        raise BadInput(f"{lost} lost and {gained} gained of {n} images; counts must add up.")
    z = _quantile(level)
    estimate = (lost - gained) / n
    low = high = estimate
    if gained < n:
        low = _root(lambda drop: _score(drop, lost, gained, n) - z, -1.0, estimate)
    if lost < n:
        high = _root(lambda drop: _score(drop, lost, gained, n) + z, estimate, 1.0)
    return low, high


def _score(drop: float, lost: int, gained: int, n: int) -> float:
    """Tango's statistic: how many standard errors the data lie above a true difference `drop`.

    The variance uses the probability of `gained` that is likeliest under that difference. It
    falls monotonically in `drop`.
    """
    b = (2 * n - lost + gained) * drop - lost - gained
    c = gained * drop * (drop - 1)
    likeliest = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * likeliest + drop * (1 - drop))
    excess = lost - gained - n * drop
    if variance <= 0:
        return math.copysign(math.inf, excess) if excess else 0.0
    return excess / math.sqrt(variance)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0, by bisection to the last bit that matters."""
    for _ in range(60):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise BadInput(f"level {level!r}; give a probability between 0 and 1, e.g. 0.95.")
    return NormalDist().inv_cdf((1 + level) / 2)
