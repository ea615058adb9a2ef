"""The ledger: an append-only record of every event of a search, the one durable truth.

One line of ASCII JSON per record: ``{"c":"1f0a93bc","l":57,"e":{...}}``. `e` is the payload, `l`
its length in bytes and `c` its CRC32, both over the bytes as they stand in the file. Line 1 holds
the header ``{"event":"header","schema":1,"fingerprints":{...},...}``, each further one an event
``{"event":"suggested","n":7,...}``, numbered from 1 without a gap. Only numbers that are not
finite leave strict JSON: they are spelled ``NaN``, ``Infinity`` and ``-Infinity``.

A killed process or a power cut can only harm what was not synced: the end of the file. A bad end
is cut off on opening; a bad line with good ones behind it is damage, and refused.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from ..spaces.errors import BadInput, CorruptFile, RunFailed

SCHEMA = 1
"""Version of the record; a higher one is refused."""

Event = dict[str, Any]
"""Payload of one line, as JSON gives it back."""

_HEADER = "header"
_LINE = re.compile(rb'\{"c":"([0-9a-f]{8})","l":(\d{1,9}),"e":(\{.*\})\}', re.DOTALL)
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}

_TIMED_KINDS = frozenset({"duplicate", "note", "progress"})
_TIMED_KEYS = frozenset({"timing", "worker"})


class Ledger:
    """Single writer of one ledger file, used by one thread. Build it with `create` or `open`.

    `append` buffers and `sync` makes everything buffered durable with one write and one fsync.
    An append also syncs by itself once the oldest buffered event has waited for `group_ms`.

    Attributes:
        path: the file.
        header: payload of its first line.
        replayed: the events that were found on opening; later ones are not added.
        torn_bytes: length of the bad end that was cut off on opening.
        committed: number of events that are durable.
    """

    def __init__(self, path: Path, fd: int, header: Event, group_ms: float) -> None:
        self.path = path
        self.header = header
        self.replayed: list[Event] = []
        self.torn_bytes = 0
        self.committed = 0
        self._fd: int | None = fd
        self._length = 0
        self._pending: list[bytes] = []
        self._oldest = 0.0
        self._group_s = group_ms / 1000

    @classmethod
    def create(cls, path: str | Path, header: Mapping[str, Any], *, group_ms: float = 50.0) -> Self:
        """Create a ledger whose header is durable on return.

        Args:
            path: a file that does not exist yet, in a folder that does.
            header: ``fingerprints`` (a mapping, compared on resume) and whatever else describes
                the run; ``event`` and ``schema`` are filled in.
            group_ms: longest wait of a buffered event, in milliseconds, while others come in.

        Raises:
            BadInput: the file exists, cannot be created, or the header has no fingerprints.
            RunFailed: no space left.
        """
        path = Path(path)
        if not isinstance(header.get("fingerprints"), Mapping):
            raise BadInput("a ledger's header needs 'fingerprints': a mapping of name to value.")
        fixed = {"event": _HEADER, "schema": SCHEMA}
        record = fixed | dict(header) | fixed
        line = _frame(record)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            raise BadInput(f"{path} exists: resume that run, or choose another name.") from None
        except OSError as error:
            raise BadInput(f"cannot create {path}: {error.strerror}.") from error
        _lock(fd, path)
        ledger = cls(path, fd, json.loads(json.dumps(record)), group_ms)
        try:
            ledger._write(line)
        except RunFailed:
            path.unlink()
            raise
        ledger._length = len(line)
        _sync_folder(path.parent)
        return ledger

    @classmethod
    def open(
        cls,
        path: str | Path,
        expected_fingerprints: Mapping[str, Any] | None = None,
        *,
        group_ms: float = 50.0,
    ) -> Self:
        """Open the ledger of an earlier run, to go on with it; a torn end is cut off.

        Args:
            path: the file.
            expected_fingerprints: what holds now; None compares nothing.
            group_ms: as in `create`.

        Raises:
            BadInput: no such file, another process writes it, its schema is newer, or a
                fingerprint differs (each one is listed). The file is left as it was.
            CorruptFile: no header, a bad line before good ones, or a missing event.
        """
        path = Path(path)
        try:
            fd = os.open(path, os.O_RDWR)
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            _lock(fd, path)
            data = path.read_bytes()
            header, events, length = _replay(path, data)
            if expected_fingerprints is not None:
                _compare(path, header["fingerprints"], expected_fingerprints)
            if length < len(data):
                os.ftruncate(fd, length)
                os.fsync(fd)
        except BaseException:
            os.close(fd)
            raise
        ledger = cls(path, fd, header, group_ms)
        ledger.replayed = events
        ledger.torn_bytes = len(data) - length
        ledger.committed = len(events)
        ledger._length = length
        return ledger

    @staticmethod
    def read(path: str | Path) -> tuple[Event, list[Event]]:
        """Header and events, without write access or lock; a torn end is left out.

        Raises:
            BadInput: no such file, or its schema is newer.
            CorruptFile: as in `open`.
        """
        path = Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _unreadable(path, error) from error
        return _replay(path, data)[:2]

    def append(self, event: Mapping[str, Any]) -> int:
        """Buffer one event and return its running number `n`, which is added to it.

        Raises:
            BadInput: no ``event`` kind, the header's kind, or an `n` of its own.
            TypeError: something in it is not JSON.
            RunFailed: the ledger is closed, or this append synced and that failed.
        """
        self._open_fd()
        kind = event.get("event")
        if not isinstance(kind, str) or kind == _HEADER or "n" in event:
            raise BadInput(
                f"a ledger's event needs a kind under 'event' (not {_HEADER!r}) and no 'n', which "
                f"the ledger counts; got event={kind!r}, n={event.get('n')!r}."
            )
        # The number follows from what is held, so that an interrupt cannot give one twice.
        number = self.committed + len(self._pending) + 1
        line = _frame({"event": kind, "n": number, **event})
        now = time.monotonic()
        if not self._pending:
            self._oldest = now
        self._pending.append(line)
        if now - self._oldest >= self._group_s:
            self.sync()
        return number

    def sync(self) -> None:
        """Make every buffered event durable.

        Raises:
            RunFailed: the disk refused (no space left, ...). What was committed before is safe,
                the file ends with it, and the ledger is closed.
        """
        pending = self._pending
        if not pending:
            return
        block = b"".join(pending)
        self._write(block)
        length, committed = self._length + len(block), self.committed + len(pending)
        # Plain assignments only: no interrupt comes between, so that nothing is recorded twice.
        self._length = length
        self.committed = committed
        self._pending = []

    def close(self) -> None:
        """Sync and let go of the file; a closed ledger stays closed."""
        if self._fd is None:
            return
        self.sync()
        os.close(self._fd)
        self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open_fd(self) -> int:
        if self._fd is None:
            raise RunFailed(f"{self.path} is closed; open it again to go on with the run.")
        return self._fd

    def _write(self, block: bytes) -> None:
        fd = self._open_fd()
        try:
            # At a fixed place: what an interrupt cut short is written over, not doubled.
            done = 0
            while done < len(block):
                done += os.pwrite(fd, block[done:], self._length + done)
            os.fsync(fd)
        except OSError as error:
            self._abandon(fd)
            raise self._failure(error, len(block)) from error

    def _abandon(self, fd: int) -> None:
        with suppress(OSError):
            os.ftruncate(fd, self._length)
            os.fsync(fd)
        with suppress(OSError):
            os.close(fd)
        self._fd = None
        self._pending = []

    def _failure(self, error: OSError, size: int) -> RunFailed:
        full = error.errno in _FULL_DISK
        todo = f"free at least {size} bytes there" if full else "see to that disk"
        return RunFailed(
            f"cannot write {self.path}: {error.strerror}. The {self.committed} events committed "
            f"so far are safe; {todo}, then start or resume the run."
        )


def trace_digest(events: Iterable[Mapping[str, Any]]) -> str:
    """Sha256 (hex) over what must agree between two runs with the same seed.

    Left out: events of kind ``duplicate``, ``note`` and ``progress``; ``timing`` and ``worker``
    wherever they stand; an event's own ``time`` and ``n``. The order within each kind of event
    counts, how the kinds interleave does not: that follows the arrival of results.
    """
    streams: dict[str, Any] = {}
    for event in events:
        kind = event["event"]
        if kind in _TIMED_KINDS:
            continue
        # "time" is also a kind of site inside a candidate: only the event's own one goes.
        kept = _timeless({key: event[key] for key in event if key not in {"n", "time"}})
        stream = streams.setdefault(kind, hashlib.sha256())
        stream.update(json.dumps(kept, sort_keys=True).encode() + b"\n")
    parts = "".join(f"{kind} {streams[kind].hexdigest()}\n" for kind in sorted(streams))
    return hashlib.sha256(parts.encode()).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _timeless(v) for k, v in value.items() if k not in _TIMED_KEYS}
    if isinstance(value, list | tuple):
        return [_timeless(item) for item in value]
    return value


def _frame(record: Mapping[str, Any]) -> bytes:
    payload = json.dumps(record, separators=(",", ":")).encode("ascii")
    return b'{"c":"%08x","l":%d,"e":%s}\n' % (zlib.crc32(payload), len(payload), payload)


def _decode(line: bytes) -> Event | None:
    """Payload of one line without its newline; None if the line is not whole."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    crc, length, payload = match.groups()
    if len(payload) != int(length) or zlib.crc32(payload) != int(crc, 16):
        return None
    try:
        return json.loads(payload)
    except ValueError:
        return None


def _replay(path: Path, data: bytes) -> tuple[Event, list[Event], int]:
    """Header, events and the length in bytes of the good part."""
    records, length = _scan(path, data)
    if not records:
        raise CorruptFile(
            f"{path} has no complete header, so nothing was recorded in it; delete it and start "
            "the run anew."
        )
    header, *events = records
    _check_header(path, header)
    for number, event in enumerate(events, start=1):
        if event.get("n") != number:
            raise CorruptFile(
                f"{path}, line {number + 1}: expected event {number}, got {event.get('n')!r}; a "
                "line was lost or added. Restore the file from a copy."
            )
    return header, events, length


def _scan(path: Path, data: bytes) -> tuple[list[Event], int]:
    records = []
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        record = _decode(data[start:end])
        if record is None:
            break
        records.append(record)
        start = end + 1
    behind = data[start:].split(b"\n")[1:]
    if any(_decode(line) is not None for line in behind):
        raise CorruptFile(
            f"{path}, line {len(records) + 1} (byte {start}) is damaged, but good lines follow, so "
            "this is no torn write. Restore the file from a copy, or cut a copy of it there to "
            "resume from that event."
        )
    return records, start


def _check_header(path: Path, header: Event) -> None:
    schema, fingerprints = header.get("schema"), header.get("fingerprints")
    if (
        header.get("event") != _HEADER
        or not isinstance(schema, int)
        or not isinstance(fingerprints, dict)
    ):
        raise CorruptFile(f"{path} does not begin with a ledger's header; give a run's ledger.")
    if schema > SCHEMA:
        raise BadInput(
            f"{path} was written by a newer version:\n  schema: recorded {schema}, now {SCHEMA}\n"
            "Use that version of spikefront."
        )


def _compare(path: Path, recorded: Event, now: Mapping[str, Any]) -> None:
    before = {name: json.dumps(value, sort_keys=True) for name, value in recorded.items()}
    after = {name: json.dumps(value, sort_keys=True) for name, value in now.items()}
    differing = [
        f"  {name}: recorded {before.get(name, 'nothing')}, now {after.get(name, 'nothing')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if differing:
        listing = "\n".join(differing)
        raise BadInput(
            f"{path} was recorded under other conditions:\n{listing}\n"
            "Resume with what was recorded, or start a new run."
        )


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BadInput(
            f"the run {path.absolute().parent.name!r} is held by another process, which writes "
            f"{path}; wait for it to end, or stop it, before resuming."
        ) from None


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable; its content is synced on its own."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unreadable(path: Path, error: OSError) -> BadInput:
    return BadInput(f"cannot open {path}: {error.strerror}; give the ledger of an existing run.")
