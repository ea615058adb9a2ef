"""The sensitivity matrix: every axis alone at every level."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from typing_extensions import override

from ...evaluators.evaluation import PROBE, WHOLE, Checks, Evaluation
from ...spaces.axis import Axis
from ...spaces.candidate import Candidate
from ...spaces.errors import unknown_name
from ..sensitivity_table import Cell, to_table
from .base import Suggestion, Task
from .stepwise import Steps, Stepwise

STAGES: Mapping[str, Checks] = {"drift": PROBE, "full": WHOLE}
"""How far the cells of the matrix are measured."""


class Sensitivity(Stepwise):
    """Measures what each level of each searched axis does with everything else untouched.

    All cells are one step, so they run in parallel. The trained network itself comes first, on
    all search images, to compare with. The matrix lands in `sensitivity.parquet`, which other
    strategies can start from; there is no choice and so no outcome.

    Args:
        task: what is searched, and for what.
        stage: `drift` runs the gate's images alone (signals and SynOps), `full` all search
            images.

    Raises:
        BadInput: an unknown stage.
    """

    def __init__(self, task: Task, stage: str = "drift") -> None:
        super().__init__()
        if str(stage) not in STAGES:
            raise unknown_name("stage of strategy 'sensitivity'", str(stage), STAGES)
        self._space = task.space
        self._checks = STAGES[stage]
        full = task.space.full
        self._cells: list[tuple[Axis, float, Candidate]] = []
        for number, axis in enumerate(task.space.axes):
            for index, level in enumerate(axis.levels):
                if index != full[number]:
                    point = (*full[:number], index, *full[number + 1 :])
                    self._cells.append((axis, level, task.space.decode(point)))
        self._found: dict[int, Evaluation] = {}

    @override
    def steps(self) -> Steps:
        cells = [Suggestion(candidate, self._checks) for _, _, candidate in self._cells]
        yield [Suggestion(Candidate(), WHOLE), *cells]

    @override
    def update(self, index: int, evaluation: Evaluation) -> None:
        # Kept one by one: a budget may end in the middle of the one step.
        self._found[index] = evaluation
        super().update(index, evaluation)

    @override
    def table(self) -> pa.Table:
        return to_table(
            Cell.of(axis, level, self._found[index])
            for index, (axis, level, _) in enumerate(self._cells, start=1)
            if index in self._found
        )
