"""From divergence to accuracy drop: a rising curve, fitted to what was measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_SLOPE = 0.5
_FREE = 0.08
"""Starting values: up to `_FREE` nothing is lost, then `_SLOPE` points per nat (a line through 160
combinations of `spikformer-cifar10`: slope 0.51, first loss at 0.105)."""
_PRIOR_POINTS = np.array([0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6])
_PRIOR_WEIGHT = 0.3
"""Of each of them, against 1 for a measurement on all search images."""
_MOST = 0.9
_SPREAD = 0.02
_SPREAD_WEIGHT = 4.0
_LEAST_SPREAD = 0.004


class DropCurve:
    """Rising, piecewise linear: isotonic regression of measured drops on measured divergences.

    Attributes:
        spread: standard deviation of a drop around the curve, the sampling error of the search
            images included.
    """

    def __init__(self) -> None:
        self.spread = _SPREAD
        self._x = _PRIOR_POINTS
        self._y = _prior(_PRIOR_POINTS)

    def learn(self, divergences: ArrayLike, drops: ArrayLike, weights: ArrayLike) -> None:
        """Fit to all evaluations so far.

        Args:
            divergences: measured `kl`, [N].
            drops: measured, [N].
            weights: share of the search images that each was measured on, [N].
        """
        x = np.asarray(divergences, dtype=np.float64)
        y = np.asarray(drops, dtype=np.float64)
        w = np.asarray(weights, dtype=np.float64)
        xs = np.concatenate([_PRIOR_POINTS, x])
        ys = np.concatenate([_prior(_PRIOR_POINTS), y])
        ws = np.concatenate([np.full(len(_PRIOR_POINTS), _PRIOR_WEIGHT), w])
        order = np.argsort(xs, kind="stable")
        self._x, self._y = _isotonic(xs[order], ys[order], ws[order])
        near = w * (y < 0.1)
        errors = float((near * (y - self(x)) ** 2).sum())
        variance = (errors + _SPREAD_WEIGHT * _SPREAD**2) / (near.sum() + _SPREAD_WEIGHT)
        self.spread = max(float(np.sqrt(variance)), _LEAST_SPREAD)

    def __call__(self, divergences: ArrayLike) -> Floats:
        """Expected drops, [N]."""
        x = np.asarray(divergences, dtype=np.float64)
        beyond = _SLOPE * np.maximum(x - self._x[-1], 0)
        return np.minimum(np.interp(x, self._x, self._y) + beyond, _MOST)


def _prior(divergences: Floats) -> Floats:
    return np.minimum(_SLOPE * np.maximum(divergences - _FREE, 0), _MOST)


def _isotonic(x: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weighted isotonic regression (pool adjacent violators): middles and values of its blocks."""
    blocks: list[list[float]] = []
    for here, value, weight in zip(x.tolist(), y.tolist(), weights.tolist(), strict=True):
        blocks.append([weight, weight * value, weight * here])
        while len(blocks) > 1 and _mean(blocks[-2]) >= _mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    middles = np.array([block[2] / block[0] for block in blocks])
    return middles, np.array([_mean(block) for block in blocks])


def _mean(block: list[float]) -> float:
    return block[1] / block[0]
