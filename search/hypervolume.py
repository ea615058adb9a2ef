"""Exact hypervolume: the volume that a set of points dominates, up to a reference point."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..spaces.errors import BadInput

Array = NDArray[np.float64]


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Volume dominated by the points, all objectives minimised.

    One and two objectives take a sort, three a sweep (both O(N log N) on a front), more a sweep
    over the last objective that needs one volume with an objective less per point, which is meant
    for fronts of some hundred points and up to about six objectives.

    Args:
        points: [N, M]; dominated and equal ones may be among them. A point that is not better
            than the reference in every objective contributes nothing.
        reference: [M], finite.

    Raises:
        BadInput: NaN or minus infinity in a point, a reference that is not finite, or shapes that
            do not fit.
    """
    corner = np.asarray(reference, dtype=np.float64)
    cloud = np.asarray(points, dtype=np.float64)
    if corner.ndim != 1 or not corner.size or not np.isfinite(corner).all():
        raise BadInput(f"a reference is one finite number per objective, got {reference!r}.")
    if cloud.size == 0:
        return 0.0
    if cloud.ndim != 2 or cloud.shape[1] != corner.size:
        raise BadInput(
            f"points of shape {cloud.shape} do not fit a reference of {corner.size} objectives; "
            f"give [N, {corner.size}]."
        )
    if np.isnan(cloud).any() or np.isneginf(cloud).any():
        raise BadInput("a point holds NaN or minus infinity, whose volume is undefined; drop it.")
    return _volume(cloud[(cloud < corner).all(axis=1)], corner)


def _volume(points: Array, reference: Array) -> float:
    """Volume of points that are nowhere worse than the reference."""
    if not len(points):
        return 0.0
    match reference.size:
        case 1:
            return float(reference[0] - points.min())
        case 2:
            return _area(points, reference)
        case 3:
            return _staircase(points, reference)
        case _:
            return _slices(points, reference)


def _area(points: Array, reference: Array) -> float:
    ordered = points[np.argsort(points[:, 0])]
    widths = np.diff(ordered[:, 0], append=reference[0])
    heights = reference[1] - np.minimum.accumulate(ordered[:, 1])
    return float(widths @ heights)


def _staircase(points: Array, reference: Array) -> float:
    """Sweep along the third objective over the staircase that the first two have built so far.

    A point adds the area that it gains in the plane, times its distance to the reference.
    """
    width, height, depth = reference.tolist()
    # Steps with x ascending and y descending, between two ends that no point can pass.
    xs, ys = [-np.inf, width], [height, -np.inf]
    total = 0.0
    for x, y, z in points[np.argsort(points[:, 2])].tolist():
        left = right = bisect_right(xs, x)
        top = ys[left - 1]
        if top <= y:
            continue
        gained, edge = 0.0, x
        while ys[right] >= y:
            gained += (xs[right] - edge) * (top - y)
            edge, top = xs[right], ys[right]
            right += 1
        gained += (xs[right] - edge) * (top - y)
        xs[left:right], ys[left:right] = [x], [y]
        total += gained * (depth - z)
    return total


def _slices(points: Array, reference: Array) -> float:
    """Sweep along the last objective, best first.

    A point adds its box in the other objectives less what earlier points cover of it, times its
    distance to the reference: behind it all earlier points are present over the whole depth. What
    they cover is a volume with one objective less (the box's share of each: WFG's limit set).
    """
    corner, depth = reference[:-1], float(reference[-1])
    active = np.empty((0, corner.size))
    total = 0.0
    for row in points[np.argsort(points[:, -1])]:
        point, z = row[:-1], float(row[-1])
        if (active <= point).all(axis=1).any():
            continue
        covered = _volume(np.maximum(active, point), corner)
        total += (float(np.prod(corner - point)) - covered) * (depth - z)
        active = np.vstack([active[(active < point).any(axis=1)], point])
    return total
