"""The front: the feasible evaluations that no other one beats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..evaluators.evaluation import Evaluation
from ..spaces.errors import BadInput, NothingFeasible, unknown_name
from .hypervolume import hypervolume

_FIRST_CAPACITY = 64


@dataclass(frozen=True, slots=True)
class Objective:
    """One measure of an evaluation that is to be as large or as small as possible.

    Attributes:
        name: a name in `Evaluation.measures`.
        maximise: True for ``accuracy``; False for what costs (``bytes``, ``energy_mj``, ...).
    """

    name: str
    maximise: bool = False


class Front:
    """Non-dominated feasible evaluations, kept while evaluations are committed.

    One evaluation dominates another if it is nowhere worse and somewhere better. Of several with
    equal objectives the first that was added stays, so that the set of objective vectors does not
    depend on the order of arrival.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = tuple(objectives)
        names = [objective.name for objective in self.objectives]
        if not names or len(set(names)) < len(names):
            raise BadInput(f"a front needs objectives with different names, got {names}.")
        self._needed = tuple(dict.fromkeys([*names, "bytes", "accuracy"]))
        self._members: list[Evaluation] = []
        # One row per objective, one column per member: a comparison runs along memory.
        self._losses = np.empty((len(names), _FIRST_CAPACITY))

    def __len__(self) -> int:
        return len(self._members)

    @property
    def members(self) -> list[Evaluation]:
        """The members, ascending in bytes, then by key."""
        return sorted(self._members, key=lambda member: (member.measures["bytes"], member.key))

    def add(self, evaluation: Evaluation) -> bool:
        """Take an evaluation in if no member is as good; members that it dominates leave.

        Returns:
            Whether it entered. An infeasible one never does, nor does one whose objectives,
            bytes or accuracy are not finite.

        Raises:
            BadInput: a feasible evaluation lacks an objective, bytes or accuracy.
        """
        if not evaluation.feasible:
            return False
        self._check(evaluation)
        if not all(math.isfinite(evaluation.measures[name]) for name in self._needed):
            return False
        loss = self._signed(evaluation.measures)
        held = self._losses[:, : len(self)]
        if np.logical_and.reduce(held <= loss).any():
            return False
        for column in np.flatnonzero(np.logical_and.reduce(held >= loss))[::-1]:
            self._remove(int(column))
        self._append(evaluation, loss)
        return True

    def hypervolume(self, reference: Mapping[str, float]) -> float:
        """Volume that the members dominate, in the product of the objectives' own units.

        Args:
            reference: a value per objective, in its own unit and direction; what is not better
                than it in every objective contributes nothing.

        Raises:
            BadInput: the reference lacks an objective or is not finite.
        """
        missing = [o.name for o in self.objectives if o.name not in reference]
        if missing:
            raise BadInput(f"the reference point lacks {missing}; it has {sorted(reference)}.")
        return hypervolume(self._losses[:, : len(self)].T, self._signed(reference)[:, 0])

    def smallest(self) -> Evaluation:
        """Return the member with the fewest bytes; of several the most accurate, then by key.

        Raises:
            NothingFeasible: the front is empty.
        """
        return min(self._some(), key=lambda m: (m.measures["bytes"], *_by_accuracy(m)))

    def most_accurate(self) -> Evaluation:
        """Return the member with the highest accuracy; of several the smallest, then by key.

        Raises:
            NothingFeasible: the front is empty.
        """
        return min(self._some(), key=_by_accuracy)

    def knee(self) -> Evaluation:
        """Return the member where further savings begin to cost much accuracy.

        Bytes and accuracy are scaled to [0, 1] over the members; the knee lies farthest from the
        straight line between `smallest` and `most_accurate`, on its better side (fewer bytes,
        more accurate). Without a member on that side - always so with one or two members - it is
        `most_accurate`. Of several equally far ones the most accurate is taken.

        Raises:
            NothingFeasible: the front is empty.
        """
        candidates = sorted(self._some(), key=_by_accuracy)
        plane = np.array([[m.measures["bytes"], m.measures["accuracy"]] for m in candidates])
        span = np.ptp(plane, axis=0)
        scaled = (plane - plane.min(axis=0)) / np.where(span > 0, span, 1)
        end = scaled[0]
        start = scaled[candidates.index(self.smallest())]
        run, rise = end - start
        x, y = (scaled - start).T
        # Cross product: the distance times the length of the line, positive on the better side.
        return candidates[int(np.argmax(run * y - rise * x))]

    def _check(self, evaluation: Evaluation) -> None:
        for name in self._needed:
            if name not in evaluation.measures:
                raise unknown_name("measure of an objective", name, evaluation.measures)

    def _signed(self, values: Mapping[str, float]) -> NDArray[np.float64]:
        """Values as a column [M, 1] to be minimised."""
        return np.array(
            [[-values[o.name] if o.maximise else values[o.name]] for o in self.objectives]
        )

    def _append(self, evaluation: Evaluation, loss: NDArray[np.float64]) -> None:
        size = len(self)
        if size == self._losses.shape[1]:
            self._losses = np.concatenate([self._losses, np.empty_like(self._losses)], axis=1)
        self._losses[:, size : size + 1] = loss
        self._members.append(evaluation)

    def _remove(self, column: int) -> None:
        """Fill the gap with the last member; `members` does not depend on the order."""
        last = self._members.pop()
        if column < len(self):
            self._members[column] = last
            self._losses[:, column] = self._losses[:, len(self)]

    def _some(self) -> list[Evaluation]:
        if not self._members:
            raise NothingFeasible(
                "the front is empty: no evaluation met the constraints; loosen them or search on."
            )
        return self._members


def pareto_mask(points: ArrayLike, maximise: Sequence[bool]) -> NDArray[np.bool_]:
    """Which rows are on the front of all rows, by the rules of `Front`.

    Two objectives take O(N log N); others one comparison with the front per row.

    Args:
        points: [N, M]; a row that is not finite is not on the front, and of equal rows only the
            first is.
        maximise: [M], direction of each column.

    Returns:
        [N].

    Raises:
        BadInput: the shapes do not fit.
    """
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(maximise):
        raise BadInput(f"points of shape {values.shape}: give [N, {len(maximise)}].")
    losses = np.where(np.asarray(maximise, dtype=bool), -values, values)
    mask = np.zeros(len(losses), dtype=bool)
    rows = np.flatnonzero(np.isfinite(losses).all(axis=1))
    # Stable and lexicographic: no row is dominated by, or a copy of, one that comes later, and in
    # the first column none is better than one that came earlier, so that the others decide.
    rows = rows[np.lexsort(losses[rows].T[::-1])]
    columns = losses[rows].T[1:]
    if len(columns) == 1:
        best_before = np.minimum.accumulate(np.append(np.inf, columns[0]))[:-1]
        mask[rows[columns[0] < best_before]] = True
        return mask
    kept, size = np.empty(columns.shape), 0
    for column, row in enumerate(rows):
        loss = columns[:, column, None]
        if not np.logical_and.reduce(kept[:, :size] <= loss).any():
            kept[:, size : size + 1] = loss
            size += 1
            mask[row] = True
    return mask


def _by_accuracy(member: Evaluation) -> tuple[float, float, str]:
    return (-member.measures["accuracy"], member.measures["bytes"], member.key)
