"""The result of a method that comes to one by itself: as a record, and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluators.evaluation import Evaluation, Stage, State

_MEASURED = (State.COMPLETE, State.INFEASIBLE)


def chosen_model(
    outcome: Mapping[str, Any] | None, evaluations: Sequence[Evaluation]
) -> Evaluation | None:
    """Evaluation of what a method chose, on all search images; None: it chose nothing."""
    key = None if outcome is None else outcome["chosen"]
    found = [
        evaluation
        for evaluation in evaluations
        if evaluation.key == key
        and evaluation.stage is Stage.FULL
        and evaluation.state in _MEASURED
    ]
    # Limits of a strategy's own checks may have left an evaluation of the same model unjudged.
    return max(found, key=lambda evaluation: evaluation.feasible, default=None)


def method_sentence(method: Mapping[str, Any]) -> str:
    """What became of a method, as plain text.

    Args:
        method: `method` of a front.json.
    """
    name, chosen, miss = method["name"], method["chosen"], method.get("nearest_miss")
    nearest = f"; the nearest miss is {miss}" if miss is not None else ""
    if chosen is None:
        text = f"{name} chose no model: nothing that it tried keeps the limits{nearest}."
    elif method["met"]:
        text = f"{name} chose {chosen}, which keeps all limits."
    else:
        text = f"{name} chose {chosen}, which does not keep all limits{nearest}."
    if not method["finished"]:
        text += " It did not come to its end within the budget."
    return text + _measured(method.get("model"))


def _measured(model: Mapping[str, Any] | None) -> str:
    if model is None:
        return ""
    text = f" It has {model['bytes']:,} bytes and {100 * model['accuracy_search']:.2f} %"
    text += " on the search images"
    if model["accuracy_test"] is not None:
        text += f", {100 * model['accuracy_test']:.2f} % on the test images"
    return text + "."
