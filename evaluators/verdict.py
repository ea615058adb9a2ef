"""What the gate says of a candidate's signals."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .evaluation import Gate, Rejection, Stage

Verdict = Callable[[Mapping[str, float]], Rejection | None]
"""Of signals; whoever is rejected by lower bounds of its signals is so by the signals, too."""


def verdict_of(gate: Gate, allowed: float | None) -> Verdict:
    """Verdict of a gate.

    Args:
        gate: rejects by a limit of the drift, by a model of the drop, or by either.
        allowed: drop that a candidate may have; None: any, and so no model rejects it.
    """

    def verdict(signals: Mapping[str, float]) -> Rejection | None:
        drift = signals["drift"]
        if gate.max_drift is not None and drift > gate.max_drift:
            return Rejection(Stage.DRIFT, drift, gate.max_drift)
        if gate.model is None or allowed is None:
            return None
        predicted, limit = gate.model.predict(signals), allowed + gate.model.margin
        return Rejection(Stage.DRIFT, predicted, limit) if predicted > limit else None

    return verdict
