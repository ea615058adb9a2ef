"""Events or ready frames in ``.npz`` files, as spikingjelly's data sets write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....spaces.errors import BadInput, CorruptFile
from .event import Events, make_events
from .sensor import Size, sensor_size

FRAMES = "frames"
_COLUMNS = ("t", "x", "y", "p")


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Either ``{"frames"}`` or ``{"t", "x", "y", "p"}``, unchecked but for their names.

    Raises:
        CorruptFile: no such arrays, or the file cannot be read. Pickled objects are refused.
        BadInput: there is no such file.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            # A file that holds one bare array has no names.
            names = set(getattr(stored, "files", ()))
            wanted = (FRAMES,) if FRAMES in names else _COLUMNS
            if not names.issuperset(wanted):
                raise CorruptFile(
                    f"{path}: holds {', '.join(sorted(names)) or 'no named arrays'}; "
                    "it must hold t, x, y and p (events), or frames [T, 2, H, W]."
                )
            return {name: stored[name] for name in wanted}
    except CorruptFile:
        raise
    # zipfile, zlib and numpy raise whatever their parsers meet.
    except Exception as error:
        raise CorruptFile(f"{path}: not a readable .npz ({error}); copy it again.") from error


def events_of(path: Path, arrays: dict[str, NDArray[Any]], size: Size | None) -> Events:
    """Events of a file that holds them.

    Args:
        path: for messages.
        arrays: what `read_npz` gave.
        size: of the sensor, which such a file does not name.

    Raises:
        CorruptFile: arrays of unlike lengths or other types than whole numbers; so `make_events`.
        BadInput: no size.
    """
    where = str(path)
    t, x, y, p = (_column(where, name, arrays[name]) for name in _COLUMNS)
    if len({len(t), len(x), len(y), len(p)}) > 1:
        lengths = ", ".join(f"{name}: {len(arrays[name])}" for name in _COLUMNS)
        raise CorruptFile(f"{where}: arrays of unlike lengths ({lengths}).")
    return make_events(where, sensor_size(where, size, None), t=t, x=x, y=y, p=p)


def frames_of(path: Path, arrays: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Counts [T, 2, H, W] of a file that holds them; stored as floats, they are whole numbers.

    Raises:
        CorruptFile: another shape, or something else than counts.
    """
    frames = arrays[FRAMES]
    if frames.ndim != 4 or frames.shape[1] != 2 or not frames.size:
        raise CorruptFile(f"{path}: frames of shape {frames.shape}; they must be [T, 2, H, W].")
    if frames.dtype.kind not in "uif" or not _are_counts(frames):
        raise CorruptFile(
            f"{path}: frames of {frames.dtype} that are no counts; give whole numbers from 0 up."
        )
    return frames.astype(np.int64)


def _are_counts(frames: NDArray[Any]) -> bool:
    # Comparisons with NaN are false.
    in_range = (frames >= 0) & (frames < 2**53)
    return bool(np.all(in_range & (frames == np.floor(frames))))


def _column(where: str, name: str, values: NDArray[Any]) -> NDArray[np.int64]:
    if values.ndim != 1 or values.dtype.kind not in "uib":
        got = f"{values.dtype} {values.shape}"
        raise CorruptFile(f"{where}: {name} is {got}; it must be whole numbers [n].")
    if values.dtype == np.uint64 and len(values) and values.max() >= 2**63:
        raise CorruptFile(f"{where}: {name} is as large as {values.max()}; the file is damaged.")
    return values.astype(np.int64)
