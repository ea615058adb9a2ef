"""What every reader of event files gives: checked events in the order of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....spaces.errors import BadInput, CorruptFile
from .sensor import Size

EVENT = np.dtype([("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.uint8)])
"""One event: time in microseconds, column, row, and polarity (0 or 1)."""

Events = NDArray[np.void]
"""Events [n] of type `EVENT`, n at least 1; times never fall."""


def make_events(
    where: str, size: Size, *, t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any]
) -> Events:
    """Events from whole numbers [n] of a file, checked.

    Args:
        where: file, for messages.
        size: of the sensor.
        t: times in microseconds.
        x: columns.
        y: rows.
        p: polarities.

    Raises:
        CorruptFile: no events; an event is outside the sensor or goes back in time.
    """
    if not len(t):
        raise CorruptFile(f"{where}: holds no events; copy it again or leave it out.")
    _check_range(where, "x", x, size[1])
    _check_range(where, "y", y, size[0])
    _check_range(where, "polarity", p, 2)
    # The time is below that of the event before it, the first one's below 0.
    wrong = np.flatnonzero(np.diff(t.astype(np.int64), prepend=0) < 0)
    if len(wrong):
        index = int(wrong[0])
        before = f"after {t[index - 1]}" if index else "below 0"
        raise CorruptFile(
            f"{where}, event {index}: time {t[index]} us is {before}; times must never fall. "
            "Write the file anew or leave it out."
        )
    events = np.empty(len(t), EVENT)
    events["t"], events["x"], events["y"], events["p"] = t, x, y, p
    return events


def read_bytes(path: Path) -> bytes:
    """Content of a file; BadInput if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error}).") from error


def _check_range(where: str, name: str, values: NDArray[Any], count: int) -> None:
    wrong = np.flatnonzero((values < 0) | (values >= count))
    if len(wrong):
        index = int(wrong[0])
        raise CorruptFile(
            f"{where}, event {index}: {name} is {values[index]}; allowed: 0..{count - 1}. "
            "Is this the right sensor (height and width)?"
        )
