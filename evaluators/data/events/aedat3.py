"""AEDAT 3.1, the format of cAER, as the DVS128 wrote it for DVS128-Gesture.

Text lines up to ``#!END-HEADER``, then packets: a header of 28 bytes and events of one type.
A polarity event has 8 bytes: bit 0 valid, bit 1 polarity, bits 2-16 row, bits 17-31 column, then
31 bits of time, which the packet's overflow count continues. All numbers are little-endian.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....spaces.errors import CorruptFile
from .event import Events, make_events, read_bytes
from .sensor import Size

SENSOR: Size = (128, 128)
MAGIC = b"#!AER-DAT3.1"
_END = b"#!END-HEADER\r\n"
_FORMAT = b"#Format:"
_RAW = b"RAW"
_POLARITY = 1
_HEADER = np.dtype(
    [
        ("type", "<i2"),
        ("source", "<i2"),
        ("size", "<i4"),
        ("time_offset", "<i4"),
        ("overflow", "<i4"),
        ("capacity", "<i4"),
        ("number", "<i4"),
        ("valid", "<i4"),
    ]
)
_EVENT = np.dtype([("data", "<u4"), ("time", "<i4")])


class _Packet(NamedTuple):
    events: NDArray[np.void]
    overflow: int


def read_aedat3(path: Path, size: Size = SENSOR) -> Events:
    """All valid polarity events of one file.

    Args:
        path: of the file.
        size: of the sensor.

    Raises:
        CorruptFile: another version, truncated, no events, an event outside the sensor, or times
            that fall.
    """
    data = read_bytes(path)
    packets = list(_packets(path, data, _body(path, data)))
    parts = [packet.events for packet in packets] or [np.empty(0, _EVENT)]
    overflows = [np.full(len(events), overflow, np.int64) for events, overflow in packets]
    words = np.concatenate(parts)
    time = words["time"] | np.concatenate([np.empty(0, np.int64), *overflows]) << 31
    address = words["data"].astype(np.int64)
    valid = address & 1 == 1
    address = address[valid]
    row, column = address >> 2 & 0x7FFF, address >> 17
    return make_events(str(path), size, t=time[valid], x=column, y=row, p=address >> 1 & 1)


def _body(path: Path, data: bytes) -> int:
    if not data.startswith(MAGIC):
        raise CorruptFile(f"{path}: does not start with {MAGIC.decode()}; it is no AEDAT 3.1.")
    end = data.find(_END)
    if end < 0:
        raise CorruptFile(f"{path}: its header does not end ({_END[:-2].decode()} is missing).")
    for line in data[:end].splitlines():
        if line.startswith(_FORMAT) and line.removeprefix(_FORMAT).strip() != _RAW:
            raise CorruptFile(f"{path}: {line.decode(errors='replace')}; only RAW can be read.")
    return end + len(_END)


def _packets(path: Path, data: bytes, start: int) -> Iterator[_Packet]:
    while start < len(data):
        where = f"{path}, packet at byte {start}"
        body = start + _HEADER.itemsize
        if body > len(data):
            raise CorruptFile(f"{where}: its header is truncated; copy the file again.")
        header = np.frombuffer(data, _HEADER, 1, start)[0]
        kind, size, overflow, capacity, number = (
            int(header[name]) for name in ("type", "size", "overflow", "capacity", "number")
        )
        start = body + capacity * size
        if size < 1 or overflow < 0 or not 0 <= number <= capacity:
            raise CorruptFile(
                f"{where}: {number} of {capacity} events of {size} bytes with {overflow} time "
                "overflows cannot be; the file is damaged: copy it again."
            )
        if start > len(data):
            raise CorruptFile(f"{where}: {start - len(data)} bytes are missing; copy it again.")
        if kind != _POLARITY:
            continue
        if size != _EVENT.itemsize:
            raise CorruptFile(f"{where}: polarity events of {size} bytes; AEDAT 3.1 has 8.")
        yield _Packet(np.frombuffer(data, _EVENT, number, body), overflow)
