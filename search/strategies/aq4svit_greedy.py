"""The greedy search of AQ4SViT."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from ...evaluators.evaluation import Evaluation
from ...spaces.axis import Axis
from ...spaces.candidate import Candidate
from .aq4svit import Aq4svit, Level
from .base import Suggestion


class Aq4svitGreedy(Aq4svit):
    """From the lowest uniform width that passes, one axis after the other, each as low as it goes.

    At each level the axes come in the order of the bytes that their weights take when the level
    begins, the largest first. An axis is lowered one width at a time while the candidate passes,
    then it stays. One pass, no way back: fast, and it may end in a local optimum.
    """

    _candidate: Candidate

    @override
    def _start(self, uniform: Evaluation) -> None:
        self._candidate = uniform.candidate

    @override
    def _level(self, name: str, axes: Sequence[Axis]) -> Level:
        memory = {axis.name: self._memory(self._candidate, axis) for axis in axes}
        for axis in sorted(axes, key=lambda axis: -memory[axis.name]):
            while (lowered := self._lowered(self._candidate, axis)) is not None:
                (done,) = yield from self._ask(name, [Suggestion(lowered, self._checks)])
                if not self._passes(done):
                    break
                self._candidate = lowered
