"""A small model of a candidate's accuracy drop, fitted by the controller, applied by evaluators."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

LAYER = "drift:"
"""Prefix of a neuron layer's own drift among the signals."""


@dataclass(frozen=True, slots=True)
class DropModel:
    """Predicts a drop from the signals of the gate's images (methods 11 shows why not drift alone).

    Every signal is at least 0 and so is every weight: what is known of a part of the signals
    bounds the prediction from below, so that a pass may end as soon as that is too much.

    Attributes:
        weights: by signal: `drift, drift_last, flips, flips_last, kl, disagreement`, or `LAYER`
            and the path of a neuron layer.
        offset: drop that is predicted where all signals are 0.
        margin: by how much a prediction may exceed the allowed drop; set so that few of those
            that are within it are rejected.

    Raises:
        ValueError: a weight below 0, or not a number.
    """

    weights: tuple[tuple[str, float], ...]
    offset: float
    margin: float

    def __post_init__(self) -> None:
        wrong = [f"{name}: {weight}" for name, weight in self.weights if not weight >= 0]
        if wrong:
            raise ValueError(f"weights must be at least 0; got {', '.join(wrong)}.")

    def predict(self, signals: Mapping[str, float]) -> float:
        """Drop, a fraction; signals that are missing count as 0.

        The sum is the exact one, rounded once: smaller signals never predict more.
        """
        known = (weight * signals.get(name, 0.0) for name, weight in self.weights)
        return math.fsum((self.offset, *known))
