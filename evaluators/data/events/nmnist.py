"""The ``.bin`` files of N-MNIST: events of 40 bits, as an ATIS camera gave them.

Per event: 8 bits column, 8 bits row, 1 bit polarity, 23 bits time in microseconds, the highest
byte first. A row of 240 is no pixel: it adds 2^13 us to the times of all later events.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....spaces.errors import CorruptFile
from .event import Events, make_events, read_bytes
from .sensor import Size

SENSOR: Size = (34, 34)
_BYTES = 5
_OVERFLOW_ROW = 240
_OVERFLOW = 1 << 13


def read_nmnist(path: Path) -> Events:
    """Events of one recording.

    Raises:
        CorruptFile: truncated, no events, an event outside the 34x34 pixels, or times that fall.
    """
    data = read_bytes(path)
    if len(data) % _BYTES:
        raise CorruptFile(
            f"{path}: ends within an event, at byte {len(data)}; it may be truncated: "
            "copy it again."
        )
    column, row, high, middle, low = np.frombuffer(data, np.uint8).astype(np.int64).reshape(-1, 5).T
    overflow = row == _OVERFLOW_ROW
    time = (high & 127) << 16 | middle << 8 | low
    time += _OVERFLOW * np.cumsum(overflow)
    pixel = ~overflow
    return make_events(
        str(path), SENSOR, t=time[pixel], x=column[pixel], y=row[pixel], p=high[pixel] >> 7
    )
