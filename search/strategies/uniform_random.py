"""Random search: the baseline of all others."""

from __future__ import annotations

import random

from typing_extensions import override

from ...evaluators.evaluation import Evaluation
from .base import Strategy, Suggestion, Task


class RandomStrategy(Strategy):
    """Every axis uniform and independent; suggestion k depends on seed and k alone."""

    def __init__(self, task: Task) -> None:
        self._space = task.space
        self._seed = task.seed

    @override
    def suggest(self, index: int) -> Suggestion:
        return Suggestion(self._space.sample(random.Random(f"{self._seed}:{index}")))

    @override
    def update(self, index: int, evaluation: Evaluation) -> None:
        """Nothing is learned."""
