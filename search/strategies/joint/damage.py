"""How much a point of a space changes what the network predicts, before it is built.

Damage is the divergence of a candidate's predictions from the trained network's on the gate's
images (`kl`). Measured on `spikformer-cifar10` (160 combinations of all kinds of sites): the sum
of what each choice does alone has a rank correlation of 0.95 with the accuracy drop of the
combination, the same sum of membrane drifts 0.83; on combinations that lose less than 8 points
0.82, where the combination's own divergence has 0.83. The combination's divergence is a power of
the sum: flips of early layers avalanche, and what has flipped cannot flip again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Points = NDArray[np.int64]

_POWER = 1.3
_SCALE = 0.4
"""Of the network above; what is measured during a search takes their place."""
_PRIOR = 8.0
"""Measurements that the starting values of power and scale count as."""
_STIFFNESS = 0.3
"""How much a change of an axis's weight costs, against errors of the sum: data of few
combinations must not explain their noise by single axes."""
_LOWEST, _HIGHEST = 0.25, 4.0
_SMALLEST = 1e-6


class DamageModel:
    """Divergence of any point: ``scale * (sum over axes of weight * table[level]) ** power``.

    Args:
        tables: per axis, damage of each level alone; 0 at the full size.

    Attributes:
        tables: as given.
        weights: per axis; 1 before anything was learned.
    """

    def __init__(self, tables: Sequence[Floats]) -> None:
        self.tables = [np.asarray(table, dtype=np.float64) for table in tables]
        self.weights = np.ones(len(self.tables))
        self._power, self._scale = _POWER, _SCALE

    def sums(self, points: ArrayLike) -> Floats:
        """Weighted sum over the axes, [N], at points [N, A]."""
        return self._parts(np.asarray(points, dtype=np.int64)) @ self.weights

    def divergence(self, points: ArrayLike) -> Floats:
        """Predicted `kl`, [N], at points [N, A]."""
        return self._scale * np.maximum(self.sums(points), _SMALLEST) ** self._power

    def learn(self, points: ArrayLike, measured: ArrayLike) -> None:
        """Fit power, scale and weights to all combinations measured so far.

        Args:
            points: [N, A]; at least two axes are not at their full size.
            measured: their `kl`, [N].
        """
        rows = np.asarray(points, dtype=np.int64)
        values = np.maximum(np.asarray(measured, dtype=np.float64), _SMALLEST)
        if not len(rows):
            return
        parts = self._parts(rows)
        self.weights = np.ones(len(self.tables))
        for _ in range(2):
            sums = np.maximum(parts @ self.weights, _SMALLEST)
            self._fit_curve(sums, values)
            wanted = (values / self._scale) ** (1 / self._power)
            self._fit_weights(parts, wanted)

    def _parts(self, points: Points) -> Floats:
        columns = [table[points[:, axis]] for axis, table in enumerate(self.tables)]
        return np.stack(columns, axis=1)

    def _fit_curve(self, sums: Floats, values: Floats) -> None:
        """Straight line through the logarithms, held to where it started by `_PRIOR`."""
        x, y = np.log(sums), np.log(values)
        middle = x.mean()
        spread = float(((x - middle) ** 2).sum())
        prior = 0.1 * _PRIOR
        slope = float(((x - middle) * (y - y.mean())).sum()) + prior * _POWER
        self._power = float(np.clip(slope / (spread + prior), 0.7, 2.0))
        expected = np.log(_SCALE) + _POWER * middle
        level = (y.sum() + expected) / (len(y) + 1)
        self._scale = float(np.exp(level - self._power * middle))

    def _fit_weights(self, parts: Floats, wanted: Floats) -> None:
        """Ridge towards 1 on relative errors of the sum."""
        shares = parts / wanted[:, None]
        left = 1 - shares.sum(axis=1)
        stiff = _STIFFNESS * np.eye(len(self.tables))
        change = np.linalg.solve(shares.T @ shares + stiff, shares.T @ left)
        self.weights = np.clip(1 + change, _LOWEST, _HIGHEST)
