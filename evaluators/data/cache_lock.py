"""Locks between the processes of one machine that share the cache."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_logger = logging.getLogger(__name__)

_TEMPORARY = ".tmp"


@contextmanager
def build_lock(folder: Path, key: str) -> Iterator[None]:
    """Hold the lock under which the entry of this key is built; waits for it.

    There is one lock per first digit of a key, in files that are never removed: removing a lock
    file while somebody waits for it would let two in. The kernel frees the locks of a process
    that dies.

    Raises:
        OSError: the folder cannot be written.
    """
    descriptor = _open_lock(folder, key)
    try:
        if not _take(descriptor):
            _logger.info("waiting for another process, which decodes images into %s", folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def temporary_file(folder: Path, key: str) -> Path:
    """Where the entry of this key is written, under its lock, before it gets its name."""
    return folder / f".{key}{_TEMPORARY}"


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that died while they wrote."""
    for file in folder.glob(f".*{_TEMPORARY}"):
        descriptor = _open_lock(folder, file.name.removeprefix("."))
        try:
            if _take(descriptor):
                file.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def remove_unused(path: Path) -> bool:
    """Remove a cache file that no process has mapped.

    A process that opens it in this moment keeps a whole file: on POSIX systems the content of a
    removed file lives as long as its last mapping.

    Returns:
        Whether it is gone.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        if not _take(descriptor):
            return False
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)


def _open_lock(folder: Path, key: str) -> int:
    return os.open(folder / f".lock-{key[0]}", os.O_RDWR | os.O_CREAT, 0o600)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
