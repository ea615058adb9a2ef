"""AEDAT 2.0, the format of jAER, as the DVS128 wrote it for CIFAR10-DVS.

Comment lines that start with ``#``, then pairs of big-endian 32-bit words: address, time in
microseconds. A DVS128's address: bit 0 polarity, bits 1-7 and 8-14 the pixel, bit 15 a mark that
the event came in through the camera's plug and not from a pixel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....spaces.errors import CorruptFile
from .event import Events, make_events, read_bytes
from .sensor import Size

SENSOR: Size = (128, 128)
MAGIC = b"#!AER-DAT2"
_WORDS = np.dtype([("address", ">u4"), ("time", ">u4")])
_EXTERNAL = 1 << 15


def read_aedat2(path: Path) -> Events:
    """Events of one recording.

    The pixels are turned, and the polarity is inverted, just as spikingjelly's
    ``datasets.cifar10_dvs`` does: networks were trained on such frames.

    Raises:
        CorruptFile: another version, truncated, no events, an address that no DVS128 has, or
            times that fall.
    """
    data = read_bytes(path)
    if not data.startswith(MAGIC):
        raise CorruptFile(f"{path}: does not start with {MAGIC.decode()}; it is no AEDAT 2.0.")
    start = _body(path, data)
    if (len(data) - start) % _WORDS.itemsize:
        raise CorruptFile(
            f"{path}: ends within an event, at byte {len(data)}; it may be truncated: "
            "copy it again."
        )
    words = np.frombuffer(data, _WORDS, offset=start)
    address = words["address"].astype(np.int64)
    wrong = np.flatnonzero(address >= 2 * _EXTERNAL)
    if len(wrong):
        index = int(wrong[0])
        raise CorruptFile(
            f"{path}, event {index} (byte {start + index * _WORDS.itemsize}): address "
            f"{address[index]:#x} is outside a DVS128; allowed: 0..{2 * _EXTERNAL - 1:#x}."
        )
    pixels = address & _EXTERNAL == 0
    address, time = address[pixels], words["time"][pixels].astype(np.int64)
    row, column = 127 - (address >> 1 & 127), 127 - (address >> 8 & 127)
    return make_events(str(path), SENSOR, t=time, x=column, y=row, p=1 - (address & 1))


def _body(path: Path, data: bytes) -> int:
    """Where the events start. No address of a DVS128 begins with the byte ``#``."""
    start = 0
    while data.startswith(b"#", start):
        start = data.find(b"\n", start) + 1
        if not start:
            raise CorruptFile(f"{path}: ends within its header; copy it again.")
    return start
