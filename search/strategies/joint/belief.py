"""What a candidate really loses: its measured drop, weighed against what its divergence says.

The smallest of many candidates that just kept a limit is one that was lucky on the search images:
on `spikformer-cifar10` the smallest of 250 lost 1.4 points there and 2.9 on the test images. The
curve from divergence to drop is fitted to all of them, the unlucky ones among them, and knows no
luck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ....evaluators.evaluation import Evaluation

Floats = NDArray[np.float64]

_LEAST_SPREAD = 0.002
"""Standard deviation of what candidates of the same divergence really lose, at least."""


def believed_drops(
    evaluations: Sequence[Evaluation], curve: Callable[[Floats], Floats], spread: float
) -> Floats:
    """Posterior means of the drops, [N].

    Args:
        evaluations: N of them, measured on all search images, with `kl`.
        curve: expected drops at divergences.
        spread: standard deviation of measured drops around it.
    """
    drops = np.array([e.measures["drop"] for e in evaluations])
    expected = curve(np.array([e.measures["kl"] for e in evaluations]))
    sampling = np.array([_sampling_variance(e) for e in evaluations])
    real = max(spread**2 - float(sampling.mean()), _LEAST_SPREAD**2)
    return (real * drops + sampling * expected) / (real + sampling)


def _sampling_variance(evaluation: Evaluation) -> float:
    """Of a measured drop: paired differences are -1, 0 and 1."""
    answers, drop = evaluation.answers, evaluation.measures["drop"]
    if answers is None:
        return 0.0
    differing = float((answers.worse | answers.better).mean())
    return max(differing - drop**2, 0.0) / evaluation.measures["n_search"]
