"""How much a point of a space changes what the network predicts, before it is built."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_SHARE = 0.4
_LEAST = 0.006
"""Standard deviation of an axis's correction: a share of its damage, and what probes may miss."""
_ERROR = 0.08
_LEAST_ERROR = 0.01
"""Standard deviation of a measured divergence around the sum: a share of it, and of probes'
sampling error."""


class DamageModel:
    """Divergence (`kl`) of any point: that of the base, plus a sum over its axes.

    Every axis's table may be corrected by a multiple of the root of its own shape: of higher
    levels, which probes know less of, by more. Corrections are the posterior mean of a linear model
    whose prior is that the probes are right.

    Args:
        tables: per axis, damage of each level, beyond the base.
        base: divergence of the base.

    Attributes:
        tables: as given.
        base: as given.
    """

    def __init__(self, tables: Sequence[Floats], base: float) -> None:
        self.tables = [np.asarray(table, dtype=np.float64) for table in tables]
        self.base = base
        lowest = np.array([table[0] for table in self.tables])
        self._shapes = [
            np.sqrt(table / top) if top > 0 else table
            for table, top in zip(self.tables, lowest, strict=True)
        ]
        self._deviations = _SHARE * lowest + _LEAST
        self._corrections = np.zeros(len(self.tables))

    def divergence(self, points: ArrayLike) -> Floats:
        """Expected `kl`, [N], at points [N, A]."""
        rows = np.asarray(points, dtype=np.int64)
        expected = np.full(len(rows), self.base)
        for axis, table in enumerate(self.corrected()):
            expected += table[rows[:, axis]]
        return expected

    def corrected(self, doubts: Floats | None = None) -> list[Floats]:
        """Tables with what was learned; none falls below a tenth of what its probes said.

        Args:
            doubts: standard normal, [A]: tables as they might as well be; None: as expected.
        """
        steps = (
            self._corrections if doubts is None else self._corrections + doubts * self._deviations
        )
        return [
            np.maximum(table + step * shape, 0.1 * table)
            for table, shape, step in zip(self.tables, self._shapes, steps, strict=True)
        ]

    def learn(self, points: ArrayLike, measured: ArrayLike) -> None:
        """Fit the corrections to all points measured so far.

        Args:
            points: [N, A].
            measured: their `kl`, [N].
        """
        rows = np.asarray(points, dtype=np.int64)
        values = np.asarray(measured, dtype=np.float64)
        if not len(rows):
            return
        shares = np.stack([s[rows[:, axis]] for axis, s in enumerate(self._shapes)], axis=1)
        sums = sum(table[rows[:, axis]] for axis, table in enumerate(self.tables))
        left = values - self.base - sums
        # Milder than the base: nothing is said about what that brings.
        precision = np.where(sums > 0, 1 / (_ERROR * values + _LEAST_ERROR) ** 2, 0.0)
        gram = shares.T @ (shares * precision[:, None]) + np.diag(1 / self._deviations**2)
        self._corrections = np.linalg.solve(gram, shares.T @ (precision * left))
