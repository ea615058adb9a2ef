"""The profile of a network's groups: what each of them bears alone, measured or read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
from typing_extensions import override

from ...evaluators.evaluation import WHOLE, Evaluation
from ...spaces.errors import BadInput
from ..sensitivity_table import Cell, check_network, read_cells, to_table
from .base import Suggestion, Task
from .limited_method import Asked, LimitedMethod
from .pruning_groups import PruningGroup, PruningGroups


class ProfiledMethod(LimitedMethod):
    """A method that prunes channels by what each of their groups bears alone.

    Every evaluation is one of all search images, as the papers validate; one that failed passes
    no limit. What is chosen is the smallest setting within the accuracy limit; a group pruned
    alone for the profile is no setting.

    Args:
        task: what is searched, and for what.
        groups: that it prunes.
        sensitivity: sensitivity table, or a run's folder that holds one: what it knows in full is
            not measured again. None: everything is measured.

    Raises:
        BadInput: no such table, or one of another network.
    """

    def __init__(self, task: Task, groups: PruningGroups, sensitivity: object) -> None:
        super().__init__(task)
        self._groups = groups
        self._cells: dict[tuple[str, float], Cell] = {}
        self._known: dict[str, Cell] = {}
        self._settings: dict[str, Mapping[str, float]] = {}
        if sensitivity is not None:
            self._known = {cell.candidate.key: cell for cell in _read(sensitivity, task)}

    @override
    def table(self) -> pa.Table:
        """The profile, as far as it came."""
        return to_table(self._cells.values())

    @override
    def _cost(self, evaluation: Evaluation) -> float:
        return evaluation.measures["bytes"]

    @override
    def _choices(self) -> list[Evaluation]:
        return [done for done in self._full() if done.key in self._settings]

    def _setting(self, rates: Mapping[str, float]) -> Suggestion:
        """Rates by group, to be measured as something that may be chosen."""
        candidate = self._groups.candidate(rates)
        self._settings.setdefault(candidate.key, rates)
        return Suggestion(candidate, WHOLE)

    def _rates(self, chosen: Evaluation | None) -> dict[str, float] | None:
        """Rate of every group in what was chosen, JSON-ready."""
        if chosen is None:
            return None
        rates = self._settings[chosen.key]
        return {group.name: rates.get(group.name, 0.0) for group in self._groups.groups}

    def _profile(self, wanted: Iterable[tuple[PruningGroup, Sequence[float]]]) -> Asked:
        """Prune every group alone, at each of its rates; the cells are kept in `_cells`."""
        missing = []
        for group, rates in wanted:
            for rate in rates:
                candidate = self._groups.candidate({group.name: rate})
                if candidate.key in self._known:
                    self._cells[group.name, rate] = self._known[candidate.key]
                else:
                    missing.append((group, rate, candidate))
        asked = [Suggestion(candidate, WHOLE) for _, _, candidate in missing]
        evaluations = yield from self._ask("profile", asked)
        for (group, rate, _), evaluation in zip(missing, evaluations, strict=True):
            level = group.axis.levels[group.index_at(rate)]
            self._cells[group.name, rate] = Cell.of(group.axis, level, evaluation)
        return evaluations

    def _drop(self, group: PruningGroup, rate: float) -> float:
        """Accuracy that a group's own pruning costs; all of it where the evaluation failed."""
        drop = self._cells[group.name, rate].drop
        return 1.0 if drop is None else drop

    def _profile_record(self) -> dict[str, dict[str, float | None]]:
        """Drops by group and rate, JSON-ready; null where the evaluation failed."""
        record: dict[str, dict[str, float | None]] = {}
        for (name, rate), cell in self._cells.items():
            record.setdefault(name, {})[f"{rate:g}"] = cell.drop
        return record


def _read(path: object, task: Task) -> list[Cell]:
    """Cells of a table that were measured in full."""
    if not isinstance(path, str) or not path:
        raise BadInput(f"strategy.options.sensitivity is {path!r}; give a path, or leave it out.")
    cells = read_cells(path)
    check_network(cells, task.space, task.price)
    return [cell for cell in cells if cell.drop is not None]
