"""Operations that MLflow has not got yet, kept on disk in order."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from pathlib import Path
from typing import Any

from .operation import Operation

_log = logging.getLogger(__name__)


class Spool:
    """Append-only file of JSON lines: an operation, or how many of them are done by now.

    Once everything is done the file is removed: no file means that nothing waits. A line that a
    crash has torn is left out. Where the disk refuses a line, the operation is kept in memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: deque[Operation] = deque()
        self._done = 0
        self._disk_failed = False
        self._read()

    def __len__(self) -> int:
        return len(self._pending)

    def append(self, operation: Operation) -> None:
        """Add one at the end; on return it survives a power cut."""
        self._pending.append(operation)
        self._write({"operation": operation.to_dict()}, sync=True)

    def first(self) -> Operation:
        """Operation to do next; the spool must not be empty."""
        return self._pending[0]

    def pop(self) -> None:
        """Take the first one off, because it is done."""
        self._pending.popleft()
        self._done += 1
        if self._pending:
            # Not synced: after a power cut an operation is done twice, which does no harm.
            self._write({"done": self._done}, sync=False)
            return
        self._path.unlink(missing_ok=True)
        self._done = 0

    def _read(self) -> None:
        if not self._path.exists():
            return
        done = 0
        for number, line in enumerate(self._path.read_bytes().splitlines(), start=1):
            try:
                record = json.loads(line)
                if "done" in record:
                    done = int(record["done"])
                else:
                    self._pending.append(Operation.from_dict(record["operation"]))
            except (ValueError, KeyError, TypeError):
                _log.warning("%s: line %d is torn and left out.", self._path, number)
        self._done = min(done, len(self._pending))
        for _ in range(self._done):
            self._pending.popleft()

    def _write(self, record: dict[str, Any], *, sync: bool) -> None:
        line = json.dumps(record).encode() + b"\n"
        try:
            with self._path.open("a+b") as file:
                if _ends_torn(file.fileno()):
                    line = b"\n" + line
                file.write(line)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
        except OSError as error:
            if not self._disk_failed:
                _log.error("%s cannot be written (%s): kept in memory only.", self._path, error)
            self._disk_failed = True


def _ends_torn(fd: int) -> bool:
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"
