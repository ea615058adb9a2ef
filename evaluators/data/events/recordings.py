"""Listed recordings, which are read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ....spaces.errors import BadInput
from ..dataset import ImageData, Pixels
from .framing import Framing
from .recording import Recording, frames_in_turn, read_recording

_LARGEST_COUNT = np.iinfo(np.uint16).max


@dataclass(frozen=True, eq=False)
class EventRecordings:
    """Recordings by number; labels are in memory.

    Attributes:
        recordings: at least one.
        classes: names.
        name: for reports.
        framing: what they become.
    """

    recordings: tuple[Recording, ...]
    classes: tuple[str, ...]
    name: str
    framing: Framing

    def __post_init__(self) -> None:
        if not self.recordings:
            raise BadInput(f"{self.name}: holds no recordings.")

    def __len__(self) -> int:
        return len(self.recordings)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class of every recording, int64 [N]."""
        return np.array([recording.label for recording in self.recordings], np.int64)

    @cached_property
    def frame_shape(self) -> tuple[int, int, int, int]:
        """[T, 2, H, W], for which the first recording is opened."""
        content = read_recording(self.recordings[0].path, self.framing.size)
        size = content[1] if isinstance(content, tuple) else content.shape[2:]
        return self.framing.steps, 2, *self.framing.scaled((size[0], size[1]))

    def load(self, indices: Sequence[int] | NDArray[np.int64]) -> ImageData:
        """Read the recordings with these numbers, in this order.

        Counts are uint8 where all of them fit, else uint16.

        Raises:
            CorruptFile: a file is damaged; names file and event or byte.
            BadInput: numbers out of range, frames of unlike shapes, or more than 65,535 events
                in one pixel of one frame.
        """
        rows = np.asarray(indices, dtype=np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise BadInput(f"{self.name}: recordings {rows.min()}..{rows.max()} of {len(self)}.")
        frames: Pixels = np.empty((len(rows), *self.frame_shape), np.uint8)
        # Trials of one file one after the other, so that it is read once.
        order = sorted(range(len(rows)), key=lambda place: rows[place])
        wanted = [self.recordings[rows[place]] for place in order]
        read = frames_in_turn(wanted, self.framing)
        for place, recording, counts in zip(order, wanted, read, strict=True):
            largest = self._check(recording, counts)
            if largest > np.iinfo(frames.dtype).max:
                frames = frames.astype(np.uint16)
            frames[place] = counts
        return ImageData(frames, self.labels[rows], self.classes, self.name)

    def _check(self, recording: Recording, counts: NDArray[np.int64]) -> int:
        if counts.shape != self.frame_shape:
            raise BadInput(
                f"{recording.path}: frames {counts.shape}, but the first recording of {self.name} "
                f"has {self.frame_shape}; all must have one shape."
            )
        largest = int(counts.max())
        if largest > _LARGEST_COUNT:
            raise BadInput(
                f"{recording.path}: {largest} events in one pixel of one frame; at most "
                f"{_LARGEST_COUNT} can be stored. Give more steps, or downscale less."
            )
        return largest
