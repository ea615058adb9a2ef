"""Fits the gate's model of the accuracy drop to what a search has measured, on plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..evaluators.drop_model import DropModel

Floats = NDArray[np.float64]

SIGNALS = ("kl", "disagreement", "flips", "flips_last", "drift", "drift_last")
_RIDGE = 1e-3
_SWEEPS = 200
_CAP = 0.3
"""Larger drops count as this one: where nearly everything is lost, signals do not tell how much."""
_NEAR = 0.03
"""Errors weigh as much as a drop of this size; those of larger drops less. The gate has to judge
around a limit of some points."""


@dataclass(frozen=True, slots=True)
class DropSample:
    """One evaluation whose drop was measured.

    Attributes:
        signals: of its pass over the gate's images.
        drop: on the search images.
        weight: share of them that it was measured on.
    """

    signals: Mapping[str, float]
    drop: float
    weight: float


def fit_line(samples: Sequence[DropSample]) -> DropModel:
    """Least squares with weights at least 0, a small ridge, and a free offset; no margin.

    Args:
        samples: at least one; each has all of `SIGNALS`.
    """
    signals = np.array([[s.signals[name] for name in SIGNALS] for s in samples])
    drops = np.minimum([s.drop for s in samples], _CAP)
    importance = np.array([s.weight for s in samples]) / (_NEAR + np.maximum(drops, 0)) ** 2
    importance /= importance.sum()
    middle, level = importance @ signals, float(importance @ drops)
    scale = np.sqrt(importance @ (signals - middle) ** 2) + 1e-12
    columns = (signals - middle) / scale
    gram = columns.T @ (columns * importance[:, None]) + _RIDGE * np.eye(len(SIGNALS))
    weights = _non_negative(gram, columns.T @ (importance * (drops - level))) / scale
    named = tuple((n, float(w)) for n, w in zip(SIGNALS, weights, strict=True) if w > 0)
    return DropModel(named, level - float(weights @ middle), margin=0.0)


def cross_fitted(samples: Sequence[DropSample], folds: int = 5) -> Floats:
    """Prediction, [N], of every sample by a line that was fitted without it.

    Args:
        samples: at least as many as folds; the folds take them in turn.
        folds: at least 2.
    """
    predictions = np.empty(len(samples))
    for fold in range(folds):
        line = fit_line([s for n, s in enumerate(samples) if n % folds != fold])
        for number in range(fold, len(samples), folds):
            predictions[number] = line.predict(samples[number].signals)
    return predictions


def _non_negative(gram: Floats, target: Floats) -> Floats:
    """Minimum of ``w gram w / 2 - target w`` over w >= 0, by coordinate descent."""
    weights = np.zeros(len(target))
    for _ in range(_SWEEPS):
        before = weights.copy()
        for place in range(len(target)):
            rest = target[place] - gram[place] @ weights + gram[place, place] * weights[place]
            weights[place] = max(rest / gram[place, place], 0.0)
        if np.abs(weights - before).max() < 1e-9:
            break
    return weights
