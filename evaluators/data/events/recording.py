"""One recording, whatever its format: a file, or a span of time in one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....spaces.errors import BadInput, CorruptFile
from . import aedat2, aedat3, nmnist
from .event import Events
from .framing import Framing, integrate, shrink
from .npz import FRAMES, events_of, frames_of, read_npz
from .sensor import Size, sensor_size

SUFFIXES = (".aedat", ".bin", ".npz")
"""Endings of files that hold recordings."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Where a recording is.

    Attributes:
        path: of the file.
        label: number of its class.
        span: first microsecond, and the first one after it; None: the whole file.
    """

    path: Path
    label: int
    span: tuple[int, int] | None = None


def frames_in_turn(
    recordings: Iterable[Recording], framing: Framing
) -> Iterator[NDArray[np.int64]]:
    """Frames [T, 2, H, W] of every recording, downscaled.

    A file that several recordings in a row are parts of is read once.

    Raises:
        CorruptFile: a file is not what its ending says, or damaged.
        BadInput: a file has frames of another number, or the size of the sensor is not known.
    """
    for path, parts in groupby(recordings, key=lambda recording: recording.path):
        content = read_recording(path, framing.size)
        for part in parts:
            yield shrink(_frames(part, content, framing), framing)


def read_recording(path: Path, size: Size | None) -> tuple[Events, Size] | NDArray[np.int64]:
    """Events of a file with the size of their sensor, or its ready frames."""
    if path.suffix == ".bin":
        return nmnist.read_nmnist(path), sensor_size(str(path), size, nmnist.SENSOR)
    if path.suffix == ".aedat":
        return _read_aedat(path, size)
    arrays = read_npz(path)
    if FRAMES in arrays:
        return _ready_frames(path, arrays, size)
    return events_of(path, arrays, size), sensor_size(str(path), size, None)


def _read_aedat(path: Path, size: Size | None) -> tuple[Events, Size]:
    with path.open("rb") as file:
        start = file.read(len(aedat3.MAGIC))
    if start.startswith(aedat3.MAGIC):
        size = sensor_size(str(path), size, aedat3.SENSOR)
        return aedat3.read_aedat3(path, size), size
    if start.startswith(aedat2.MAGIC):
        return aedat2.read_aedat2(path), sensor_size(str(path), size, aedat2.SENSOR)
    raise CorruptFile(f"{path}: starts with {start!r}; it must be AEDAT 2.0 or AEDAT 3.1.")


def _ready_frames(
    path: Path, arrays: dict[str, NDArray[Any]], size: Size | None
) -> NDArray[np.int64]:
    frames = frames_of(path, arrays)
    if size is not None and frames.shape[2:] != size:
        raise BadInput(f"{path}: frames of {frames.shape[2:]}, but height and width are {size}.")
    return frames


def _frames(
    part: Recording, content: tuple[Events, Size] | NDArray[np.int64], framing: Framing
) -> NDArray[np.int64]:
    if isinstance(content, tuple):
        events, size = content
        return integrate(_within(part, events), size, framing)
    if len(content) != framing.steps:
        raise BadInput(
            f"{part.path}: holds {len(content)} frames, but steps is {framing.steps}; "
            "set steps, or give the events."
        )
    return content


def _within(part: Recording, events: Events) -> Events:
    if part.span is None:
        return events
    first, last = np.searchsorted(events["t"], part.span)
    if first == last:
        raise CorruptFile(f"{part.path}: no events from {part.span[0]} to {part.span[1]} us.")
    return events[first:last]
