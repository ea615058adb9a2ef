"""Fits the gate's model of the accuracy drop to what a search has measured, on plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..evaluators.drop_model import LAYER, DropModel

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SIGNALS = ("kl", "disagreement", "flips", "flips_last", "drift", "drift_last")
"""Every sample has these, of the whole network; the drift of its layers comes on top."""
_RIDGE = 1e-3
_LAYER_RIDGE = 100.0
"""Each layer's own weight is held back as by so many samples that say it is 0, which is more than
there are when a search fits its first model. Held back like the six signals, layers made the
predictions for random candidates of `spikformer-cifar10` worse (10 to 60 measured before; rank
correlation below 5 points 0.57, without them 0.67) and those of `sdt-v1-cifar10` better (0.85,
0.80). Held back like this they cost at most 0.002 there and add up to 0.02
(docs/gates-results.md)."""
_CAP = 0.3
"""Larger drops count as this one: where nearly everything is lost, signals do not tell how much."""
_NEAR = 0.03
"""Errors weigh as much as a drop of this size; those of larger drops less. The gate has to judge
around a limit of some points."""
_TINY = float(np.finfo(np.float64).tiny)
_CONSTANT = 1e-9
"""A signal that spreads less says nothing but rounding."""


@dataclass(frozen=True, slots=True)
class DropSample:
    """One evaluation whose drop was measured.

    Attributes:
        signals: of its pass over the gate's images, all of `SIGNALS` among them.
        layers: drift of its neuron layers; one that is missing counts as 0.
        drop: on the search images.
        weight: number of them that it was measured on, in any unit.
    """

    signals: Mapping[str, float]
    layers: Mapping[str, float]
    drop: float
    weight: float

    @property
    def known(self) -> dict[str, float]:
        """Everything that a `DropModel` may have a weight for."""
        pooled = {name: self.signals[name] for name in SIGNALS}
        return {**pooled, **{LAYER + name: drift for name, drift in self.layers.items()}}


def fit_line(samples: Sequence[DropSample]) -> DropModel:
    """Least squares with weights at least 0, two ridges, and a free offset; no margin.

    A layer's weight comes on top of its share in that of the mean drift, so the large ridge on it
    draws the line to the one through the six signals alone.

    Args:
        samples: at least one.
    """
    table = _Table.of(samples)
    weights, offset = table.line(np.ones(len(samples), dtype=bool))
    named = tuple((n, float(w)) for n, w in zip(table.names, weights, strict=True) if w > 0)
    return DropModel(named, offset, margin=0.0)


def cross_fitted(samples: Sequence[DropSample], folds: int = 5) -> Floats:
    """Prediction, [N], of every sample by a line that was fitted without it.

    Args:
        samples: at least as many as folds; the folds take them in turn.
        folds: at least 2.
    """
    table = _Table.of(samples)
    turn = np.arange(len(samples)) % folds
    predictions = np.empty(len(samples))
    for fold in range(folds):
        weights, offset = table.line(turn != fold)
        predictions[turn == fold] = table.signals[turn == fold] @ weights + offset
    return predictions


@dataclass(frozen=True, eq=False)
class _Table:
    """Samples as arrays: the six signals' columns first, one per layer behind.

    Attributes:
        names: of the columns, as a `DropModel` calls them.
        signals: [N, F].
        drops: [N], capped.
        weights: [N].
    """

    names: tuple[str, ...]
    signals: Floats
    drops: Floats
    weights: Floats

    @classmethod
    def of(cls, samples: Sequence[DropSample]) -> _Table:
        layers = tuple(dict.fromkeys(name for sample in samples for name in sample.layers))
        rows = [
            [s.signals[name] for name in SIGNALS] + [s.layers.get(name, 0.0) for name in layers]
            for s in samples
        ]
        return cls(
            (*SIGNALS, *(LAYER + name for name in layers)),
            np.array(rows),
            np.minimum([s.drop for s in samples], _CAP),
            np.array([s.weight for s in samples]),
        )

    def line(self, chosen: Bools) -> tuple[Floats, float]:
        """Weights [F] and offset of the best line through the chosen samples."""
        signals, drops = self.signals[chosen], self.drops[chosen]
        importance = self.weights[chosen] / (_NEAR + np.maximum(drops, 0)) ** 2
        importance /= importance.sum()
        middle, level = importance @ signals, float(importance @ drops)
        columns = signals - middle
        scale = np.sqrt(importance @ columns**2)
        columns[:, scale < _CONSTANT] = 0.0
        scale = np.maximum(scale, _CONSTANT)
        columns /= scale
        gram = columns.T @ (columns * importance[:, None]) + np.diag(self._ridge(len(drops)))
        weights = _non_negative(gram, columns.T @ (importance * (drops - level))) / scale
        return weights, level - float(weights @ middle)

    def _ridge(self, count: int) -> Floats:
        ridge = np.full(len(self.names), _LAYER_RIDGE / count)
        ridge[: len(SIGNALS)] = _RIDGE
        return ridge


def _non_negative(gram: Floats, target: Floats) -> Floats:
    """Minimum of ``w gram w / 2 - target w`` over w >= 0, for a positive definite gram [F, F].

    Active sets (Lawson and Hanson 1974, chapter 23; on the gram: Bro and de Jong 1997): exact,
    where coordinate descent crawls, as the layers' drifts go up and down together.
    """
    weights = np.zeros(len(target))
    free = np.zeros(len(target), dtype=bool)
    enough = 1e-12 * float(np.abs(target).max(initial=0.0))
    # Each round lowers the minimum; the bound is for those that rounding keeps from doing so.
    for _ in range(3 * len(target)):
        slope = np.where(free, 0.0, target - gram @ weights)
        steepest = int(slope.argmax())
        if slope[steepest] <= enough:
            break
        free[steepest] = True
        weights = _settled(gram, target, weights, free)
    return weights


def _settled(gram: Floats, target: Floats, weights: Floats, free: Bools) -> Floats:
    """Minimum over the free weights, where those that it would turn negative are no longer free.

    Args:
        gram: [F, F].
        target: [F].
        weights: at least 0, and 0 where not free.
        free: changed in place.
    """
    while free.any():
        wanted = np.zeros(len(target))
        wanted[free] = np.linalg.solve(gram[np.ix_(free, free)], target[free])
        barred = free & (wanted <= 0)
        if not barred.any():
            return wanted
        steps = np.full(len(target), np.inf)
        steps[barred] = weights[barred] / np.maximum(weights[barred] - wanted[barred], _TINY)
        weights = weights + steps.min() * (wanted - weights)
        free &= (weights > 0) & (steps > steps.min())
        weights = np.where(free, weights, 0.0)
    return weights
