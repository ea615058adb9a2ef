"""The faint points of the scatter: who belongs to which class, and which ones are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...evaluators.evaluation import State
from .evaluation_table import EvaluationTable, Floats
from .front_schema import Front
from .scales import Scale
from .thinning import Rows, distance_to_front, smallest, thin_on_grid

MAX_POINTS = 4_000
"""Faint points that are drawn at most, rug included; the front comes on top."""

_NEAR_FRONT = 1_000
_NEAR_FEASIBLE = 500
_RUG = 500

Stairs = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class Cloud:
    """Points of one class: rows of the table that are drawn, and how many there are."""

    rows: Rows
    total: int


@dataclass(frozen=True, slots=True)
class Clouds:
    """All classes.

    Attributes:
        dominated: feasible, but another one is at least as good in everything.
        infeasible: measured and outside a constraint.
        rejected: ended early, with an estimate of its accuracy.
        rug: rejected or infeasible without any estimate; drawn along the x axis.
    """

    dominated: Cloud
    infeasible: Cloud
    rejected: Cloud
    rug: Cloud

    @property
    def placed(self) -> dict[str, Cloud]:
        """The classes with an accuracy, in drawing order."""
        return {
            "rejected": self.rejected,
            "infeasible": self.infeasible,
            "dominated": self.dominated,
        }

    @property
    def shown(self) -> int:
        """Number of points that are drawn."""
        return sum(len(cloud.rows) for cloud in (*self.placed.values(), self.rug))

    @property
    def total(self) -> int:
        """Number of points that there are."""
        return sum(cloud.total for cloud in (*self.placed.values(), self.rug))


def classify(front: Front, table: EvaluationTable) -> dict[str, NDArray[np.bool_]]:
    """Mask of each class, [N]. Members and evaluations that went wrong are in none."""
    member = np.isin(table.key, [member.key for member in front.members])
    placed = np.nan_to_num(table.bytes) > 0
    measured = placed & np.isfinite(table.accuracy)
    complete = (table.state == State.COMPLETE.value) & ~member
    infeasible = table.state == State.INFEASIBLE.value
    rejected = table.state == State.REJECTED.value
    return {
        "dominated": complete & measured,
        "infeasible": infeasible & measured,
        "rejected": rejected & measured,
        "rug": (infeasible | rejected) & placed & ~measured,
    }


def draw_clouds(
    table: EvaluationTable,
    classes: dict[str, NDArray[np.bool_]],
    stairs: Stairs,
    x: Scale,
    y: Scale,
) -> Clouds:
    """Choose points: neighbours of the front and nearest misses whole, the rest on a grid.

    Earlier commits stand for later ones, so that the same run gives the same picture.
    """
    order = np.argsort(table.number, kind="stable")
    rows = {name: order[mask[order]] for name, mask in classes.items()}
    kept = {
        "dominated": _front_neighbours(table, rows["dominated"], stairs, x, y),
        "infeasible": _nearest_misses(table, rows["infeasible"]),
        "rejected": _nearest_misses(table, rows["rejected"]),
    }
    rug = _thin_rug(table, rows["rug"], x)
    budget = MAX_POINTS - len(rug) - sum(len(chosen) for chosen in kept.values())
    rest = {name: rows[name][~np.isin(rows[name], chosen)] for name, chosen in kept.items()}
    thinned = _thin_rest(table, rest, budget, x, y)
    return Clouds(
        rug=Cloud(rug, len(rows["rug"])),
        **{
            name: Cloud(np.union1d(chosen, np.intersect1d(thinned, rows[name])), len(rows[name]))
            for name, chosen in kept.items()
        },
    )


def _front_neighbours(
    table: EvaluationTable, rows: Rows, stairs: Stairs, x: Scale, y: Scale
) -> Rows:
    extent = (float(np.log(x.high / x.low)), y.high - y.low)
    distance = distance_to_front(table.bytes[rows], table.accuracy[rows], stairs, extent)
    return smallest(distance, rows, _NEAR_FRONT)


def _nearest_misses(table: EvaluationTable, rows: Rows) -> Rows:
    known = rows[table.violation[rows] > 0]
    return smallest(table.violation[known], known, _NEAR_FEASIBLE)


def _thin_rug(table: EvaluationTable, rows: Rows, x: Scale) -> Rows:
    same = np.zeros(len(rows), dtype=np.intp)
    level = np.zeros(len(rows), dtype=np.float64)
    return thin_on_grid(x.positions(table.bytes[rows]), level, same, rows, _RUG)


def _thin_rest(
    table: EvaluationTable, rest: dict[str, Rows], budget: int, x: Scale, y: Scale
) -> Rows:
    rows = np.concatenate(list(rest.values()))
    group = np.repeat(np.arange(len(rest)), [len(part) for part in rest.values()])
    places = x.positions(table.bytes[rows]), y.positions(table.accuracy[rows])
    return thin_on_grid(*places, group, rows, budget)
