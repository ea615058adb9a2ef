"""Fewer points to draw, without losing what a reader looks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_FINEST_GRID = 1024


def staircase(size: Floats, accuracy: Floats) -> tuple[Floats, Floats]:
    """Non-dominated (size, accuracy) pairs, ascending in both; ties keep one."""
    order = np.lexsort((-accuracy, size))
    size, accuracy = size[order], accuracy[order]
    best_before = np.maximum.accumulate(np.concatenate(([-np.inf], accuracy)))[:-1]
    rises = accuracy > best_before
    return size[rises], accuracy[rises]


def distance_to_front(
    size: Floats, accuracy: Floats, stairs: tuple[Floats, Floats], extent: tuple[float, float]
) -> Floats:
    """How far below or right of the staircase points lie, in shares of the picture, [N].

    `extent` is the picture's width in log(size) and its height in accuracy. Points below the
    lowest step are not near it, however close in size.
    """
    step_size, step_accuracy = stairs
    if not len(step_size):
        return np.full(len(size), np.inf)
    left = np.searchsorted(step_size, size, side="right") - 1
    below = np.where(left >= 0, step_accuracy[left] - accuracy, 0.0) / extent[1]
    riser = np.searchsorted(step_accuracy, accuracy, side="left")
    beside = np.log(size / step_size[np.minimum(riser, len(step_size) - 1)]) / extent[0]
    beside[riser == 0] = np.inf
    return np.maximum(np.minimum(below, beside), 0.0)


def smallest(values: Floats, rows: Rows, count: int) -> Rows:
    """Those `count` of the rows with the smallest values; ties go to the earlier row."""
    return rows[np.argsort(values, kind="stable")[:count]]


def thin_on_grid(x: Floats, y: Floats, group: Rows, rows: Rows, budget: int) -> Rows:
    """At most `budget` rows: the first of each group in each cell of the finest grid that fits.

    `x` and `y` are places in the picture, in [0, 1].
    """
    if len(rows) <= budget:
        return rows
    cells = _FINEST_GRID
    while cells >= 1:
        column = np.minimum((x * cells).astype(np.int64), cells - 1)
        line = np.minimum((y * cells).astype(np.int64), cells - 1)
        _, first = np.unique((group * cells + line) * cells + column, return_index=True)
        if len(first) <= budget:
            return rows[np.sort(first)]
        cells = cells * 4 // 5
    return rows[:budget]
