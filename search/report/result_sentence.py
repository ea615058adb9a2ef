"""The one sentence that says what a run found."""

from __future__ import annotations

from html import escape

from .formats import format_bytes, format_count, format_percent, format_points, significant
from .front_schema import Front, Member


def result_sentence(front: Front) -> str:
    """HTML of the result: the member that the search was for, against its parent."""
    best = front.headline
    if best is None:
        return (
            f"<strong>No candidate met the constraints.</strong> Of "
            f"{format_count(_tried(front))} candidates of {escape(front.parent.name)} none is "
            "both small and accurate enough; the nearest misses are listed below."
        )
    return f"{_size(front, best)} {_difference(front, best)}"


def _tried(front: Front) -> int:
    counts = front.counts
    return counts.complete + counts.rejected + counts.infeasible + counts.failed


def _size(front: Front, best: Member) -> str:
    return (
        f"{_which(front)} takes <strong>{format_bytes(best.bytes)}</strong>, "
        f"<strong>{format_percent(best.bytes_ratio)}</strong> of its parent’s "
        f"{format_bytes(front.parent.bytes)}."
    )


def _which(front: Front) -> str:
    limits = front.limits
    if limits.drop is not None:
        points = significant(limits.drop * 100)
        return f"The smallest network within {points} points of its parent’s accuracy"
    if limits.bytes is not None:
        return f"The most accurate network within {format_bytes(limits.bytes)}"
    return "The smallest network on the front"


def _difference(front: Front, best: Member) -> str:
    if best.accuracy_test is None or front.parent.accuracy_test is None:
        return "Its accuracy on the test split has not been measured."
    difference = best.accuracy_test - front.parent.accuracy_test
    images = "" if best.n_test is None else f"{format_count(best.n_test)} "
    interval = ""
    if best.test_interval is not None:
        low, high = (format_points(end) for end in best.test_interval)
        interval = f" (paired, 95 % interval {low} to {high})"
    where = "that it was searched on, too (paper split: this flatters)"
    if not front.paper_split:
        where = "that the search never touched"
    return (
        f"On {images}test images {where}, its accuracy of "
        f"{format_percent(best.accuracy_test, 2)} differs from the parent’s by "
        f"<strong>{format_points(difference)} points</strong>{interval}."
    )
