"""From events to T frames of counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....spaces.errors import BadInput, unknown_name
from .event import Events
from .sensor import Size

SPLITS_BY = ("number", "time")
DOWNSCALES_BY = ("sum", "nearest")
_LARGEST_SIDE = 4096


@dataclass(frozen=True, slots=True)
class Framing:
    """How a recording becomes frames [T, 2, H, W].

    Attributes:
        steps: T.
        split_by: ``number`` gives every frame equally many events, ``time`` equally long spans;
            the last frame takes what is left over. The boundaries are those of spikingjelly's
            ``integrate_events_by_fixed_frames_number``.
        size: height and width before downscaling; None: those of the sensor. Larger than the
            sensor, it adds empty pixels at the right and at the bottom.
        downscale: whole factor by which height and width shrink.
        downscale_by: ``sum`` counts the events of all pixels of a block, ``nearest`` those of
            its upper left pixel.

    Raises:
        BadInput: a value out of range.
    """

    steps: int = 16
    split_by: str = "number"
    size: Size | None = None
    downscale: int = 1
    downscale_by: str = "sum"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.downscale < 1:
            got = f"steps {self.steps} and downscale {self.downscale}"
            raise BadInput(f"event frames: {got}; give at least 1.")
        if self.split_by not in SPLITS_BY:
            raise unknown_name("split_by", self.split_by, SPLITS_BY)
        if self.downscale_by not in DOWNSCALES_BY:
            raise unknown_name("downscale_by", self.downscale_by, DOWNSCALES_BY)
        if self.size is not None and not all(1 <= side <= _LARGEST_SIDE for side in self.size):
            raise BadInput(f"height and width {self.size}; allowed: 1..{_LARGEST_SIDE}.")

    def scaled(self, size: Size) -> Size:
        """Height and width after downscaling; BadInput if the factor does not divide them."""
        if size[0] % self.downscale or size[1] % self.downscale:
            raise BadInput(f"frames of {size} cannot be downscaled by {self.downscale}.")
        return size[0] // self.downscale, size[1] // self.downscale


def integrate(events: Events, size: Size, framing: Framing) -> NDArray[np.int64]:
    """Counts [T, 2, H, W] of events, not downscaled; polarity 0 comes first."""
    bounds = _bounds(events["t"], framing)
    frame = np.repeat(np.arange(framing.steps), np.diff(bounds))
    plane = 2 * frame + events["p"]
    index = (plane * size[0] + events["y"]) * size[1] + events["x"]
    shape = (framing.steps, 2, *size)
    return np.bincount(index, minlength=int(np.prod(shape))).reshape(shape)


def shrink(frames: NDArray[np.int64], framing: Framing) -> NDArray[np.int64]:
    """Downscaled counts [T, 2, h, w].

    Raises:
        BadInput: the factor does not divide height and width.
    """
    factor = framing.downscale
    height, width = framing.scaled((frames.shape[2], frames.shape[3]))
    if framing.downscale_by == "nearest":
        return frames[:, :, ::factor, ::factor]
    return frames.reshape(*frames.shape[:2], height, factor, width, factor).sum((3, 5))


def _bounds(times: NDArray[np.int64], framing: Framing) -> NDArray[np.int64]:
    """Number of the first event of every frame, and the number of events, [T + 1]."""
    steps, count = np.arange(framing.steps + 1), len(times)
    if framing.split_by == "number":
        bounds = steps * (count // framing.steps)
    else:
        span = (times[-1] - times[0]) // framing.steps
        bounds = np.searchsorted(times, times[0] + span * steps)
    bounds[-1] = count
    return bounds
