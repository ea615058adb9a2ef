"""One decoded slice of a data set as a file that is mapped, not read.

The file is Arrow IPC, uncompressed: one record batch with one column of fixed-size binary values,
the pixels of one image each. So the pixels of all images lie in one piece, processes that map the
file share one copy of it in memory, and any Arrow reader can open it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...spaces.errors import CorruptFile

FORMAT = 1
"""Version of the layout; part of every key, so that older files are never read."""

_METADATA = b"spikefront"
_COLUMN = "pixels"


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """What a cached slice is, as its file says.

    Attributes:
        key: content key of sources, rows and decoding.
        source: the data set as it was named.
        split: what the rows were wanted for.
        shape: [N, C, H, W].
        sha256: hex, over the pixels.
        created: seconds since 1970.
    """

    key: str
    source: str
    split: str
    shape: tuple[int, int, int, int]
    sha256: str
    created: float


def pixel_hash(images: NDArray[np.uint8]) -> str:
    """sha256 hex over contiguous pixels."""
    return hashlib.sha256(images.data).hexdigest()


def write_cached(path: Path, images: NDArray[np.uint8], record: CacheRecord) -> None:
    """Write contiguous images [N, C, H, W], N at least 1; on return they are on the disk.

    Raises:
        OSError: no space, or no permission.
    """
    width = prod(record.shape[1:])
    buffers: list[pa.Buffer | None] = [None, pa.py_buffer(images)]
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(images), buffers)
    schema = pa.schema(
        [pa.field(_COLUMN, column.type, nullable=False)],
        {_METADATA: json.dumps(asdict(record)).encode()},
    )
    with path.open("wb") as file:
        with pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(pa.record_batch([column], schema=schema))
        file.flush()
        os.fsync(file.fileno())


def open_cached(path: Path) -> tuple[NDArray[np.uint8], CacheRecord]:
    """Map a file: read-only images uint8 [N, C, H, W] without a copy, and their record.

    While the array lives, this process holds a shared lock on the file (the mapping keeps the
    locked descriptor open), by which the cache knows what is in use.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFile: truncated, or not what this module writes. The pixels are not hashed here.
        OSError: no permission, or a file system without locks.
    """
    mapped = _mapped(path)
    try:
        with pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))) as reader:
            record = _record(reader.schema.metadata[_METADATA])
            column = reader.get_batch(0).column(0)
        pixels = np.frombuffer(column.buffers()[1], np.uint8)
        return pixels[: prod(record.shape)].reshape(record.shape), record
    # Whatever a parser of damaged bytes meets; Arrow's own errors are ValueError or OSError too.
    except (pa.ArrowException, OSError, LookupError, ValueError, TypeError) as error:
        raise CorruptFile(f"{path}: not a whole cache file ({error!r}).") from error


def is_whole(images: NDArray[np.uint8], record: CacheRecord) -> bool:
    """Whether the pixels are those that were written; reads all of them."""
    return pixel_hash(images) == record.sha256


def _mapped(path: Path) -> mmap.mmap:
    """Map of a whole file, which keeps a shared lock on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not os.fstat(descriptor).st_size:
            raise CorruptFile(f"{path}: an empty cache file.")
        return mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    finally:
        os.close(descriptor)


def _record(stored: bytes) -> CacheRecord:
    values = json.loads(stored)
    count, channels, height, width = map(int, values.pop("shape"))
    return CacheRecord(**values, shape=(count, channels, height, width))
