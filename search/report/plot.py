"""What the scatter shows, size against accuracy: its scales, its limits and its points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .clouds import Clouds, classify, draw_clouds
from .evaluation_table import EvaluationTable, Floats
from .front_schema import Front
from .scales import Scale, accuracy_axis, linear_bytes, log_bytes
from .thinning import staircase

_LEAST_SPAN = 0.01
"""Smallest height of the accuracy axis: less would blow up noise."""


@dataclass(frozen=True, slots=True)
class Plot:
    """The scatter.

    Attributes:
        x: byte scales, ``log`` and ``linear``.
        y: accuracy scales, ``near`` (around the front) and ``all``.
        clouds: the faint points.
        stairs: the non-dominated (bytes, accuracy) of the front, ascending.
        energy: least and greatest energy of what is coloured, mJ per image.
        limit: accuracy below which nothing is feasible, if the run had such a limit.
    """

    x: dict[str, Scale]
    y: dict[str, Scale]
    clouds: Clouds
    stairs: tuple[tuple[float, float], ...]
    energy: tuple[float, float]
    limit: float | None


def build_plot(front: Front, table: EvaluationTable) -> Plot:
    """Scatter of a run. Points are thinned the same way every time."""
    classes = classify(front, table)
    placed = classes["dominated"] | classes["infeasible"] | classes["rejected"]
    sizes = np.array([member.bytes for member in front.members], dtype=np.float64)
    accuracies = np.array([member.accuracy_search for member in front.members], dtype=np.float64)
    stairs = staircase(sizes, accuracies)
    drop = front.limits.drop
    limit = None if drop is None else front.parent.accuracy_search - drop
    x = _x_scales(front, table.bytes[placed | classes["rug"]])
    y = _y_scales(front, table.accuracy[placed], limit)
    return Plot(
        x=x,
        y=y,
        clouds=draw_clouds(table, classes, stairs, x["log"], y["all"]),
        stairs=tuple(zip(stairs[0].tolist(), stairs[1].tolist(), strict=True)),
        energy=_energy_range(front, table.energy_mj[classes["dominated"]]),
        limit=limit,
    )


def _x_scales(front: Front, faint: Floats) -> dict[str, Scale]:
    sizes = [front.parent.bytes, *(member.bytes for member in front.members), *faint.tolist()]
    if front.limits.bytes is not None:
        sizes.append(front.limits.bytes)
    low, high = float(min(sizes)), float(max(sizes))
    return {"log": log_bytes(low, high), "linear": linear_bytes(high)}


def _y_scales(front: Front, faint: Floats, limit: float | None) -> dict[str, Scale]:
    """`near` spans parent, front and limit; without a front, the best tenth of the others."""
    wanted = [front.parent.accuracy_search, *(m.accuracy_search for m in front.members)]
    if limit is not None:
        wanted.append(limit)
    if not front.members and len(faint):
        wanted.append(float(np.quantile(faint, 0.9)))
    top = max([*wanted, *faint.tolist()])
    span = max(top - min(wanted), _LEAST_SPAN)
    near = max(min(wanted) - 0.4 * span, 0.0)
    lowest = min([*wanted, *faint.tolist()])
    bottom = max(lowest - 0.05 * (top - lowest), 0.0)
    high = min(top + 0.1 * span, 1.0 + 0.02 * span)
    return {"near": accuracy_axis(near, high), "all": accuracy_axis(min(bottom, near), high)}


def _energy_range(front: Front, dominated: Floats) -> tuple[float, float]:
    known = [member.energy_mj for member in front.members if member.energy_mj is not None]
    values = [*known, *dominated[np.isfinite(dominated)].tolist()]
    return (min(values), max(values)) if values else (0.0, 0.0)
