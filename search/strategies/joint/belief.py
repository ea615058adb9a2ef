"""What a candidate really loses: its measured drop, weighed against what its cross-entropy says.

The smallest of many candidates that just kept a limit is one that was lucky on the search images:
on `spikformer-cifar10` the smallest of 250 lost 1.1 points there and 2.6 on the test images. The
cross-entropy on the same images knows less luck: every image weighs by how sure an answer is, not
by whether it flips. On the test images of two networks the drop correlates with it at 0.87 and
0.67, with the measured drop at 0.37 and 0.47, with the divergence from the trained network on the
gate's images at 0.75 and 0.53 (`make bench-belief`, docs/belief-results.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ....evaluators.evaluation import Evaluation

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ENOUGH = 6
"""Candidates measured on all search images that a line is drawn through, at least."""
_NEAR = 0.03
"""Drops of this size and below draw the line; larger ones count less: it bends there."""
_LEAST_SPREAD = 0.002
_SHARE = 0.05
"""Standard deviation of what candidates of the same cross-entropy really lose, at least: a part
that is always there, and a share of the drop."""


def believed_drops(evaluations: Sequence[Evaluation], fair: Sequence[bool]) -> Floats:
    """Posterior means of the drops, [N]; as measured where there is nothing to correct them by.

    Args:
        evaluations: N of them, with `drop`; those of all search images with `cross_entropy`.
        fair: which of them would have been asked all images whatever the first ones said, [N].
            The others got there by luck, more of them the more they really lose, so the line is
            drawn through fair ones where there are enough.
    """
    drops = np.array([e.measures["drop"] for e in evaluations])
    whole = np.array(["cross_entropy" in e.measures for e in evaluations], dtype=bool)
    if whole.sum() < _ENOUGH:
        return drops
    measured = [e for e in evaluations if "cross_entropy" in e.measures]
    chosen = np.asarray(fair, dtype=bool)[whole]
    if chosen.sum() < _ENOUGH:
        chosen[:] = True
    drops[whole] = _posterior(measured, drops[whole], chosen)
    return drops


def _posterior(evaluations: Sequence[Evaluation], drops: Floats, chosen: Bools) -> Floats:
    entropies = np.array([e.measures["cross_entropy"] for e in evaluations])
    sampling = np.array([_sampling_variance(e) for e in evaluations])
    some, lost = entropies[chosen], drops[chosen]
    # Weighed by what they should lose, not by what they did: that would favour the lucky.
    alike = np.ones(len(some))
    weights = 1 / (_NEAR + np.maximum(_line(some, lost, alike)(some), 0)) ** 2
    line = _line(some, lost, weights)
    scatter = np.average((lost - line(some)) ** 2 - sampling[chosen], weights=weights)
    expected = line(entropies)
    least = _LEAST_SPREAD + _SHARE * np.maximum(expected, 0)
    real = np.maximum(scatter, least**2)
    return (real * drops + sampling * expected) / (real + sampling)


def _line(x: Floats, y: Floats, weights: Floats) -> Callable[[Floats], Floats]:
    """The rising line of least weighted squares."""
    middle, level = np.average(x, weights=weights), np.average(y, weights=weights)
    spread = weights @ (x - middle) ** 2
    slope = max(weights @ ((x - middle) * (y - level)), 0.0) / max(spread, 1e-12)
    return lambda at: level + slope * (at - middle)


def _sampling_variance(evaluation: Evaluation) -> float:
    """Of a measured drop: paired differences are -1, 0 and 1."""
    answers, drop = evaluation.answers, evaluation.measures["drop"]
    if answers is None:
        return 0.0
    differing = float((answers.worse | answers.better).mean())
    return max(differing - drop**2, 0.0) / evaluation.measures["n_search"]
