"""The cache of decoded slices: built once per machine, mapped by every process on it."""

from __future__ import annotations

import logging
import math
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...spaces.errors import BadInput, CorruptFile
from .cache_file import CacheRecord, is_whole, open_cached, pixel_hash, write_cached
from .cache_lock import build_lock, remove_leftovers, remove_unused, temporary_file
from .parquet import Allocate, new_array

_logger = logging.getLogger(__name__)

GIB = 2**30
LIMIT_GIB = 16.0
"""Size limit unless the environment says otherwise: ImageNet's validation set twice."""

_LIMIT_VARIABLE = "SPIKEFRONT_CACHE_GIB"
_SUFFIX = ".arrow"
_HEADER = 4096
"""More than what a file holds besides pixels."""


class Origin(StrEnum):
    """Where the pixels of a slice came from."""

    FOUND = "in the cache"
    DECODED = "decoded into the cache"
    UNKEPT = "decoded, not cached"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the cache.

    Attributes:
        path: the file.
        record: what it says it is; None for a damaged file.
        bytes: its size.
        last_used: when a process last opened it, seconds since 1970.
    """

    path: Path
    record: CacheRecord | None
    bytes: int
    last_used: float


@dataclass(frozen=True, slots=True)
class DataCache:
    """A folder of decoded slices, never larger than a limit.

    A cache that cannot be used (no space, no permission) costs time and never a run: images are
    then decoded into memory, and a warning says why.

    Attributes:
        folder: where the files lie; made when it is needed.
        limit: most bytes of all files together, seen to before a file is added; 0 turns the
            cache off. What was used least recently goes first, and nothing goes that a living
            process has mapped.
    """

    folder: Path
    limit: int

    @classmethod
    def from_environment(cls) -> DataCache:
        """Cache in ``$XDG_CACHE_HOME`` (else ~/.cache), with ``$SPIKEFRONT_CACHE_GIB`` as limit.

        Raises:
            BadInput: the limit is no number of GiB.
        """
        return cls(cache_folder("data"), cache_limit(_LIMIT_VARIABLE, LIMIT_GIB))

    def images(
        self,
        key: str,
        source: str,
        split: str,
        build: Callable[[Allocate], NDArray[np.uint8]],
    ) -> tuple[NDArray[np.uint8], Origin]:
        """Images of a key, built by the first process that asks while others wait for it.

        Args:
            key: content key, hex.
            source: name of the data set, for listings.
            split: what the images are for, for listings.
            build: decodes them, uint8 [N, C, H, W], N at least 1, into an array that it asks for.
        """
        if not self.limit:
            return build(new_array), Origin.UNKEPT
        with ExitStack() as held:
            try:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                if (found := self._open(key)) is not None:
                    return found, Origin.FOUND
                held.enter_context(build_lock(self.folder, key))
                # Another process may have built it while this one waited.
                if (found := self._open(key)) is not None:
                    return found, Origin.FOUND
            except OSError as error:
                return build(new_array), self._unkept(error)
            return self._keep(build(self._allocate), key, source, split)

    def entries(self) -> list[Entry]:
        """All files, the one that was used last first; damaged ones have no record."""
        files = sorted(self.folder.glob(f"[!.]*{_SUFFIX}"))
        entries = [entry for file in files if (entry := _entry(file)) is not None]
        return sorted(entries, key=lambda entry: -entry.last_used)

    def total(self) -> int:
        """Bytes of all files."""
        return sum(entry.bytes for entry in self.entries())

    def shrink(self, limit: int) -> list[Entry]:
        """Remove damaged files, then those used least recently, until the rest is small enough.

        Returns:
            What was removed.
        """
        remove_leftovers(self.folder)
        entries, removed = self.entries(), []
        size = sum(entry.bytes for entry in entries)
        for entry in sorted(entries, key=lambda e: (e.record is not None, e.last_used)):
            if entry.record is not None and size <= limit:
                break
            if remove_unused(entry.path):
                removed.append(entry)
                size -= entry.bytes
        return removed

    def remove_unused_since(self, moment: float) -> list[Entry]:
        """Remove what was last used before a moment (seconds since 1970) and is not mapped."""
        old = [entry for entry in self.entries() if entry.last_used < moment]
        return [entry for entry in old if remove_unused(entry.path)]

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _open(self, key: str) -> NDArray[np.uint8] | None:
        """Mapped images, None where they must be decoded (again).

        All pixels are hashed every time: that takes a fraction of a second per GiB and reads what
        is about to be used anyway, and a damaged pixel would silently change what is measured.
        """
        path = self._path(key)
        try:
            images, record = open_cached(path)
            if record.key != key or not is_whole(images, record):
                raise CorruptFile(f"{path}: its content is not what was written.")
            os.utime(path)
            return images
        except FileNotFoundError:
            return None
        except CorruptFile as error:
            _logger.warning("%s Its images are decoded anew.", error)
            path.unlink(missing_ok=True)
            return None

    def _allocate(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Array in a file without a name, so that a large slice needs no memory of its own."""
        size = math.prod(shape)
        try:
            self._make_room(size + _HEADER)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                # Reserved now: writing to a map on a full disk would kill the process.
                os.posix_fallocate(file.fileno(), 0, size)
                return np.memmap(file, np.uint8, "r+", shape=shape)
        except OSError as error:
            self._unkept(error)
            return new_array(shape)

    def _make_room(self, size: int) -> None:
        self.shrink(max(self.limit - size, 0))
        if self.total() + size > self.limit:
            raise OSError(
                f"{size / GIB:.2f} GiB more would pass its limit of {self.limit / GIB:g} GiB; "
                f"raise {_LIMIT_VARIABLE}, or close the processes that use its files"
            )

    def _keep(
        self, images: NDArray[np.uint8], key: str, source: str, split: str
    ) -> tuple[NDArray[np.uint8], Origin]:
        if not isinstance(images, np.memmap):
            return images, Origin.UNKEPT
        count, channels, height, width = images.shape
        shape = (count, channels, height, width)
        record = CacheRecord(key, source, split, shape, pixel_hash(images), time.time())
        temporary = temporary_file(self.folder, key)
        try:
            write_cached(temporary, images, record)
            temporary.replace(self._path(key))
        except OSError as error:
            temporary.unlink(missing_ok=True)
            return images, self._unkept(error)
        kept = self._open(key)
        return (images, Origin.UNKEPT) if kept is None else (kept, Origin.DECODED)

    def _unkept(self, error: OSError) -> Origin:
        _logger.warning("the cache %s cannot be used: %s.", self.folder, error)
        return Origin.UNKEPT


def cache_limit(variable: str, default: float) -> int:
    """Bytes that a cache of ours may take: an environment variable in GiB, else the default.

    Raises:
        BadInput: what it says is no number of GiB.
    """
    given = os.environ.get(variable) or str(default)
    try:
        limit = float(given)
    except ValueError:
        limit = math.nan
    if not 0 <= limit < math.inf:
        raise BadInput(f"{variable} is {given!r}; give a number of GiB, or 0 for no cache.")
    return int(limit * GIB)


def cache_folder(name: str) -> Path:
    """Folder of a cache of ours: in ``$XDG_CACHE_HOME``, else in ~/.cache."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The standard says that a relative path there is to be ignored.
    base = base if base.is_absolute() else Path.home() / ".cache"
    return base / "spikefront" / name


def verified(entry: Entry) -> Entry:
    """Same entry; without its record where its pixels are not what was written."""
    try:
        whole = is_whole(*open_cached(entry.path))
    except (CorruptFile, FileNotFoundError):
        whole = False
    return entry if whole else replace(entry, record=None)


def _entry(file: Path) -> Entry | None:
    try:
        status = file.stat()
        try:
            record = open_cached(file)[1]
        except CorruptFile:
            record = None
    except FileNotFoundError:
        return None
    return Entry(file, record, status.st_size, status.st_mtime)
