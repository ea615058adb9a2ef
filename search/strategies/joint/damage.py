"""How much accuracy a point of a space loses, before it is built: damages add up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_MOST = 0.9
"""Drop that ever more damage comes closer to. Where little is lost, drops are the damage."""
_NEARLY = 0.98
POINTS_PER_NAT = 0.5
"""What a nat of a probe's divergence costs in accuracy, before anything is learned (160
combinations of `spikformer-cifar10`: 0.009 at 0.007 nats beyond the base of the probes, 0.035 at
0.033, 0.096 at 0.154, 0.305 at 0.559)."""
_OF_POINTS = 0.25
_OFFSET = 0.01
"""Standard deviations of that slope, and of what is lost whatever is chosen: the trained network's
luck on the search images."""
_SHARE = 0.4
"""Share of an axis's damage that is doubted, besides what its probes may have missed."""
_ERROR = 0.08
"""Standard deviation of a damage around the sum, relative to it, which rises by 1 per
unit of damage: what loses most of the accuracy must not tell what a point of it costs."""
_FITS = 3
"""Each knows better than the one before where between its bounds a drop lies."""
_UNKNOWN = 10.0
"""Nats from which on a damage says that nothing is known of a level, not that so much is lost."""
_FLOOR = 0.1


class DamageModel:
    """Drop of any point: an offset, and a sum over its axes that saturates.

    A Bayesian linear model whose prior is that the probes are right, up to a common factor. Every
    axis's table is corrected by a multiple of the root of its own shape: of higher levels, which
    probes know less of, by more. What it learns from are drops on the search images, not
    divergences on the gate's: some hundred images know too little of the small differences between
    the candidates of a plan, and a plan made from them goes after what these images like.

    Args:
        tables: per axis, damage of each level in nats; 0 at the trained network's.
        missed: nats that the probes of each axis may have missed, as a standard deviation.
    """

    def __init__(self, tables: Sequence[Floats], missed: ArrayLike) -> None:
        self._tables = [np.asarray(table, dtype=np.float64) for table in tables]
        most = [float(table.max(initial=0.0)) for table in self._tables]
        self._shapes = [
            np.sqrt(table / top) if top > 0 else table
            for table, top in zip(self._tables, most, strict=True)
        ]
        deviations = POINTS_PER_NAT * (_SHARE * np.array(most) + np.asarray(missed))
        self._prior = np.concatenate([[_OFFSET, _OF_POINTS], deviations]) ** -2
        self._mean = np.zeros(len(self._prior))
        self._mean[1] = POINTS_PER_NAT
        self._start = self._mean
        self._root = np.diag(self._prior**-0.5)

    @property
    def unknowns(self) -> int:
        """Number of coefficients: of the offset, the slope and every axis's correction."""
        return len(self._mean)

    @property
    def offset(self) -> float:
        """Drop that is lost whatever is chosen."""
        return float(self._mean[0])

    def learn(
        self, points: ArrayLike, least: ArrayLike, most: ArrayLike, errors: ArrayLike
    ) -> None:
        """Fit to everything measured so far.

        Args:
            points: [N, A].
            least: the drop of each is at least this, [N].
            most: and at most this, [N]; between them, it is as expected.
            errors: standard deviation of each drop as a measurement, [N].
        """
        self._mean = self._start
        levels, errors = np.asarray(points, dtype=np.int64), np.asarray(errors, dtype=np.float64)
        rows = self._rows(levels)
        for _ in range(_FITS):
            self._fit(rows, np.clip(self.drops(levels), least, most), errors)

    def _fit(self, rows: Floats, lost: Floats, errors: Floats) -> None:
        left = 1 - np.minimum(lost / _MOST, _NEARLY)
        damages = -_MOST * np.log(left)
        sizes = np.maximum(damages, 0)
        variance = (errors / left) ** 2 + ((_ERROR + sizes) * sizes) ** 2
        # A level whose probe failed would tell that a nat costs next to nothing.
        weighted = np.where(rows[:, 1:2] < _UNKNOWN, rows / variance[:, None], 0.0)
        covariance = np.linalg.inv(rows.T @ weighted + np.diag(self._prior))
        self._mean = covariance @ (weighted.T @ damages + self._prior * self._start)
        self._root = np.linalg.cholesky((covariance + covariance.T) / 2)

    def damages(self, doubts: Floats | None = None) -> list[Floats]:
        """Tables with what was learned; none falls below a tenth of what its probes said.

        Args:
            doubts: standard normal, [unknowns]: tables as they might as well be; None: as expected.
        """
        found = self._mean if doubts is None else self._mean + self._root @ doubts
        slope = max(float(found[1]), _FLOOR * POINTS_PER_NAT)
        return [
            np.maximum(slope * table + step * shape, _FLOOR * POINTS_PER_NAT * table)
            for table, shape, step in zip(self._tables, self._shapes, found[2:], strict=True)
        ]

    def drops(self, points: ArrayLike) -> Floats:
        """Expected drops, [N], at points [N, A]."""
        rows = np.asarray(points, dtype=np.int64)
        total = np.full(len(rows), self._mean[0])
        for axis, table in enumerate(self.damages()):
            total += table[rows[:, axis]]
        return np.where(total > 0, -_MOST * np.expm1(-total / _MOST), total)

    def deviations(self, points: ArrayLike) -> Floats:
        """Standard deviations of these drops, [N], for what is not known of the damages."""
        rows = self._rows(points)
        return np.sqrt(((rows @ self._root) ** 2).sum(axis=1))

    def _rows(self, points: ArrayLike) -> Floats:
        """Factors of offset, slope and corrections, [N, A + 2]."""
        rows = np.asarray(points, dtype=np.int64).reshape(-1, len(self._tables))
        sums = sum(table[rows[:, axis]] for axis, table in enumerate(self._tables))
        shapes = [shape[rows[:, axis]] for axis, shape in enumerate(self._shapes)]
        return np.stack([np.ones(len(rows)), np.zeros(len(rows)) + sums, *shapes], axis=1)
