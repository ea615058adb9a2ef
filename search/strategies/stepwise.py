"""Methods that go from step to step, each of which waits for the evaluations of the one before."""

from __future__ import annotations

import abc
from collections.abc import Generator, Sequence

from typing_extensions import override

from ...evaluators.evaluation import Evaluation
from .base import Strategy, Suggestion

Steps = Generator[Sequence[Suggestion], Sequence[Evaluation], None]
"""Yields the suggestions of a step, and is sent their evaluations in the same order."""


class Stepwise(Strategy):
    """A strategy written down as its paper tells it: a generator over steps.

    The suggestions of one step are evaluated in parallel; the next step begins when all of them
    are committed. A step may be empty.
    """

    def __init__(self) -> None:
        self._run: Steps | None = None
        self._step: Sequence[Suggestion] = ()
        self._first = 0
        self._evaluations: dict[int, Evaluation] = {}
        self._finished = False

    @abc.abstractmethod
    def steps(self) -> Steps:
        """The method."""

    @property
    def finished(self) -> bool:
        """Whether the method came to its end."""
        return self._finished

    @override
    def suggest(self, index: int) -> Suggestion | None:
        if self._run is None:
            self._run = self.steps()
            self._advance(None)
        place = index - self._first
        return self._step[place] if place < len(self._step) else None

    @override
    def update(self, index: int, evaluation: Evaluation) -> None:
        self._evaluations[index] = evaluation
        if len(self._evaluations) == len(self._step):
            self._first += len(self._step)
            self._advance([self._evaluations[number] for number in sorted(self._evaluations)])

    def _advance(self, evaluations: Sequence[Evaluation] | None) -> None:
        """Go on to the next step that suggests anything."""
        assert self._run is not None
        self._evaluations = {}
        try:
            self._step = next(self._run) if evaluations is None else self._run.send(evaluations)
            while not self._step:
                self._step = self._run.send(())
        except StopIteration:
            self._step = ()
            self._finished = True
