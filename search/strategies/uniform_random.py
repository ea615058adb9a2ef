"""Random search: the baseline of all others."""

from __future__ import annotations

import random
from collections.abc import Sequence

from typing_extensions import override

from ...evaluators.evaluation import Evaluation
from ...spaces.candidate import Candidate
from ...spaces.space import Space
from .base import Strategy


class RandomStrategy(Strategy):
    """Every axis uniform and independent; suggestion k depends on seed and k alone."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed

    @override
    def suggest(self, index: int) -> Candidate:
        return self._space.sample(random.Random(f"{self._seed}:{index}"))

    @override
    def update(self, evaluations: Sequence[Evaluation]) -> None:
        """Nothing is learned."""
