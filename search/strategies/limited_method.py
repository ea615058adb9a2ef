"""What methods that compress up to an accuracy limit have in common: notes, and an outcome."""

from __future__ import annotations

import abc
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from typing_extensions import override

from ...evaluators.evaluation import Evaluation, Stage, State
from ...spaces.errors import BadInput
from .base import Suggestion, Task
from .stepwise import Stepwise

Asked = Generator[Sequence[Suggestion], Sequence[Evaluation], list[Evaluation]]
"""Part of a method that asks for evaluations and hands them on."""

_MEASURED = (State.COMPLETE, State.INFEASIBLE)


class LimitedMethod(Stepwise):
    """A method that looks for the cheapest candidate within `Limits.drop`.

    Whether a candidate passes is a question of accuracy alone: a method comes down from the
    trained network, which is larger than any limit of bytes. What is chosen is the cheapest that
    passes; ``met`` says whether it keeps the other limits, too.

    Args:
        task: what is searched, and for what.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task
        self._log: dict[Suggestion, tuple[str, Evaluation]] = {}

    @abc.abstractmethod
    def _cost(self, evaluation: Evaluation) -> float:
        """What the method makes as small as it can."""

    def _facts(self, chosen: Evaluation | None) -> Mapping[str, Any]:
        """What else this method has to report, JSON-ready."""
        return {}

    @override
    def outcome(self) -> Mapping[str, Any]:
        chosen = self._chosen()
        met = chosen is not None and chosen.feasible
        return {
            "chosen": None if chosen is None else chosen.key,
            "met": met,
            "finished": self.finished,
            "nearest_miss": None if met else self._nearest_miss(),
            "full_evaluations": len(self._full()),
            "image_evaluations": self._images(),
            **self._facts(chosen),
        }

    def _ask(self, part: str, suggestions: Sequence[Suggestion]) -> Asked:
        """Evaluate some suggestions at once; `part` of the method is what they count to."""
        if not suggestions:
            return []
        evaluations = yield suggestions
        for suggestion, evaluation in zip(suggestions, evaluations, strict=True):
            self._log.setdefault(suggestion, (part, evaluation))
        return list(evaluations)

    def _passes(self, evaluation: Evaluation) -> bool:
        """Whether it was measured on all search images and keeps the limit of accuracy."""
        if evaluation.stage is not Stage.FULL or evaluation.state not in _MEASURED:
            return False
        limit = self._task.limits.drop
        return limit is None or evaluation.measures["drop"] <= limit

    def _all(self) -> list[Evaluation]:
        return [evaluation for _, evaluation in self._log.values()]

    def _full(self) -> list[Evaluation]:
        return [e for e in self._all() if e.stage is Stage.FULL and e.state in _MEASURED]

    def _choices(self) -> list[Evaluation]:
        """What may be chosen: whatever was measured in full, where a method says nothing else."""
        return self._full()

    def _chosen(self) -> Evaluation | None:
        def order(evaluation: Evaluation) -> tuple[bool, float, float, str]:
            accuracy = evaluation.measures["accuracy"]
            return (not evaluation.feasible, self._cost(evaluation), -accuracy, evaluation.key)

        return min(filter(self._passes, self._choices()), key=order, default=None)

    def _nearest_miss(self) -> str | None:
        """Key of the candidate measured in full that violates the limits least."""
        missed = [e for e in self._choices() if not e.feasible]
        nearest = min(missed, key=lambda e: (e.violation, e.key), default=None)
        return None if nearest is None else nearest.key

    def _images(self) -> dict[str, int]:
        """Image evaluations by part of the method."""
        images: dict[str, int] = {}
        for part, evaluation in self._log.values():
            images[part] = images.get(part, 0) + evaluation.image_evaluations
        return images


def require_drop(task: Task, name: str, published: float, work: str) -> float:
    """Limit of accuracy that a method cannot do without.

    Args:
        task: what is searched, and for what.
        name: of the strategy.
        published: what its paper allowed.
        work: the paper.

    Raises:
        BadInput: there is none.
    """
    if task.limits.drop is None:
        raise BadInput(
            f"strategy {name!r} compresses until an accuracy limit is reached; set "
            f"constraints.max_drop ({work}: {published})."
        )
    return task.limits.drop


def require_number(
    name: str, value: object, *, least: float, above: bool = False, whole: bool = False
) -> None:
    """Refuse an option that is not a number of at least (or above) `least` (BadInput)."""
    kinds = (int,) if whole else (int, float)
    right = isinstance(value, kinds) and not isinstance(value, bool)
    if right and (value > least or (value == least and not above)):  # pyright: ignore[reportOperatorIssue]
        return
    kind = "a whole number" if whole else "a number"
    raise BadInput(
        f"strategy.options.{name} is {value!r}; give {kind} {'above' if above else 'from'} {least}."
    )


def require_flag(name: str, value: object) -> None:
    """Refuse an option that is neither true nor false (BadInput)."""
    if not isinstance(value, bool):
        raise BadInput(f"strategy.options.{name} is {value!r}; give true or false.")
