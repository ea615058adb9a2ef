"""Hypervolume over wall time, and the figures that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spikefront.search.hypervolume import hypervolume

OWN, PLAIN = "spikefront", "plain"


@dataclass(frozen=True, slots=True)
class Reference:
    """Reference point of both sides.

    Attributes:
        accuracy: of guessing.
        bytes: of the trained network in float32 with folded batch norms.
    """

    accuracy: float
    bytes: int

    def volume(self, points: Sequence[Mapping[str, Any]]) -> float:
        """Hypervolume of points, as a share of the best there could be: all right with no byte."""
        losses = [(-p["accuracy"], p["bytes"] / self.bytes) for p in points]
        return hypervolume(losses, (-self.accuracy, 1.0)) / (1 - self.accuracy)


def curve(
    side: str, points: Sequence[Mapping[str, Any]], started: float, reference: Reference
) -> list[dict[str, Any]]:
    """One row per evaluation: when it ended and the hypervolume from then on.

    Args:
        side: whose it is.
        points: `at` (of the same clock as `started`), `state`, `accuracy`, `bytes`, `images`,
            in order of `at`.
        started: when the process of this side was started.
        reference: of the hypervolume.
    """
    rows: list[dict[str, Any]] = []
    complete: list[Mapping[str, Any]] = []
    volume = 0.0
    for number, point in enumerate(points):
        if point["state"] == "complete":
            complete.append(point)
            volume = reference.volume(complete)
        facts = {name: value for name, value in point.items() if name != "at"}
        rows.append(
            {
                "part": "curve",
                "side": side,
                "number": number,
                "seconds": point["at"] - started,
                "hypervolume": volume,
                **facts,
            }
        )
    return rows


def time_to(rows: Sequence[Mapping[str, Any]], wanted: float) -> float | None:
    """Seconds after which a side's hypervolume was at least this; None: it never was."""
    return next((row["seconds"] for row in rows if row["hypervolume"] >= wanted), None)


def summarise(
    own: Sequence[Mapping[str, Any]],
    plain: Sequence[Mapping[str, Any]],
    walls: Mapping[str, float],
) -> dict[str, float]:
    """Figures of both sides.

    Args:
        own: rows of our curve.
        plain: rows of the other one.
        walls: seconds from start to end of each side's process.
    """
    figures: dict[str, float] = {}
    for side, rows in ((OWN, own), (PLAIN, plain)):
        figures |= {
            f"{side}: candidates": len(rows),
            f"{side}: seconds until the first": rows[0]["seconds"],
            f"{side}: seconds until the last": rows[-1]["seconds"],
            f"{side}: seconds of the process": walls[side],
            f"{side}: hypervolume": rows[-1]["hypervolume"],
            f"{side}: images": sum(row["images"] for row in rows),
        }
    needed = figures[f"{PLAIN}: seconds until the last"]
    figures["times faster, same number of candidates"] = needed / own[-1]["seconds"]
    reached = time_to(own, plain[-1]["hypervolume"])
    if reached is None:
        return figures
    # When the other side had it: it need not have been its last candidate that brought it.
    had = time_to(plain, plain[-1]["hypervolume"])
    assert had is not None
    figures |= {
        f"{OWN}: seconds until the plain side's hypervolume": reached,
        f"{PLAIN}: seconds until its hypervolume": had,
        "times faster, same hypervolume": needed / reached,
        "times faster, same hypervolume, from when it was had": had / reached,
    }
    return figures
