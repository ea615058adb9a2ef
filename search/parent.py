"""What is known of the trained network while a search runs."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ..evaluators.blueprint import Blueprint
from ..evaluators.evaluation import WHOLE, Request
from ..spaces.candidate import Candidate
from .plan import Plan

LATENCY = "latency_ms"


class Parent:
    """Measures of the trained network; they take a pass over the search images, and are lazy."""

    def __init__(self, plan: Plan, blueprint: Blueprint) -> None:
        self._plan = plan
        self._blueprint = blueprint

    def record(self, accuracy_test: float | None) -> dict[str, Any]:
        """What reports and front.json say of it.

        Args:
            accuracy_test: on the test images; None: nothing looked at them.
        """
        name = self._plan.model.name
        return {"name": name, **self._measured, "accuracy_test": accuracy_test}

    @property
    def reference(self) -> Mapping[str, float]:
        """Reference point of the hypervolume: guessing, at the trained network's own costs."""
        return {
            o.name: 1 / self._plan.model.network.classes if o.maximise else self._measured[o.name]
            for o in self._plan.objectives
        }

    @functools.cached_property
    def _measured(self) -> dict[str, Any]:
        measured = self._blueprint.parent(None)
        if LATENCY in {objective.name for objective in self._plan.objectives}:
            # Timed as candidates are: with its inputs at hand, through the stages.
            whole = self._blueprint.build()(Request(Candidate(), checks=WHOLE))
            measured[LATENCY] = whole.timing[LATENCY]
        return measured
