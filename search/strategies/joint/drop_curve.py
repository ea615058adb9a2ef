"""From divergence to accuracy drop: a rising curve, fitted to what was measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_SLOPE = 0.5
_AT_BASE = 0.007
"""Starting values: what is lost at the base of the probes, and points per nat beyond (160
combinations of `spikformer-cifar10`: 0.009 at 0.007 nats beyond, 0.035 at 0.033, 0.096 at 0.154,
0.305 at 0.559)."""
_PRIOR_POINTS = np.array([0.0, 0.03, 0.1, 0.3, 0.7, 1.5])
_PRIOR_WEIGHT = 0.3
"""Of each of them, against 1 for a measurement on all search images."""
_MOST = 0.9
_SPREAD = 0.012
_SPREAD_WEIGHT = 2.0
_LEAST_SPREAD = 0.004


class DropCurve:
    """Rising, piecewise linear: isotonic regression of measured drops on measured divergences.

    Args:
        base: divergence of the base of the probes.

    Attributes:
        spread: standard deviation around the curve of what those that were measured in full lose.
    """

    def __init__(self, base: float) -> None:
        self.spread = _SPREAD
        self._expected = (
            np.concatenate([[0.0], base + _PRIOR_POINTS]),
            np.concatenate([[0.0], np.minimum(_AT_BASE + _SLOPE * _PRIOR_POINTS, _MOST)]),
        )
        self._x, self._y = self._expected

    def learn(self, divergences: ArrayLike, drops: ArrayLike, weights: ArrayLike) -> None:
        """Fit to all evaluations so far.

        Args:
            divergences: measured `kl`, [N].
            drops: measured, or what is believed of them, [N].
            weights: share of the search images that each was measured on, [N]; 1 of all.
        """
        x = np.asarray(divergences, dtype=np.float64)
        y = np.asarray(drops, dtype=np.float64)
        w = np.asarray(weights, dtype=np.float64)
        expected_x, expected_y = self._expected
        xs = np.concatenate([expected_x, x])
        ys = np.concatenate([expected_y, y])
        ws = np.concatenate([np.full(len(expected_x), _PRIOR_WEIGHT), w])
        order = np.argsort(xs, kind="stable")
        self._x, self._y = _isotonic(xs[order], ys[order], ws[order])
        # Estimates from some of the images scatter for reasons of their own.
        near = (w >= 1) & (y < 0.1)
        errors = float((near * (y - self(x)) ** 2).sum())
        variance = (errors + _SPREAD_WEIGHT * _SPREAD**2) / (near.sum() + _SPREAD_WEIGHT)
        self.spread = max(float(np.sqrt(variance)), _LEAST_SPREAD)

    def __call__(self, divergences: ArrayLike) -> Floats:
        """Expected drops, [N]."""
        x = np.asarray(divergences, dtype=np.float64)
        beyond = _SLOPE * np.maximum(x - self._x[-1], 0)
        return np.minimum(np.interp(x, self._x, self._y) + beyond, _MOST)


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
