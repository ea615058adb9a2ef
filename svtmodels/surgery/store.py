"""Prepared surgery on disk: made by one process of a machine, mapped by all of them.

Removal orders, compensated weights and integer codes cost seconds where a layer is wide, and each
follows from a key; so one worker makes them while the others wait, and they outlive a search.
"""

from __future__ import annotations

import fcntl
import logging
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

_logger = logging.getLogger(__name__)

_SUFFIX = ".surgery"
_CHECKSUM = "crc32"


_SHARES = 16
"""Processes that may write at a time without taking more than is free."""
_FULL = 0.9
"""Share of the limit that is left when room was needed: not every new file removes an old one."""


@dataclass(slots=True)
class _Free:
    """Bytes that this process may still write before it looks through all files again."""

    share: int = 0


@dataclass(frozen=True, slots=True)
class SurgeryStore:
    """A folder of prepared tensors, never larger than a limit.

    A store that cannot be used (no space, no permission) costs time and never a run.

    Attributes:
        folder: where the files lie; made when it is needed.
        limit: most bytes of all files together; what was used least recently goes first. 0 turns
            the store off.
    """

    folder: Path
    limit: int
    _free: _Free = field(default_factory=_Free, repr=False, compare=False)

    def tensors(
        self, kind: str, key: str, make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Tensors of a key, made by the first process that asks while others wait for it.

        Args:
            kind: of tensors. Making one kind may ask for another, never for one that is being
                made for its sake: each has locks of its own, so that nobody waits in a circle.
            key: content key, hex, of everything that decides over them.
            make: makes them.
        """
        if not self.limit:
            return make()
        name = f"{kind}-{key}"
        with ExitStack() as held:
            try:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                if (found := self._open(name)) is not None:
                    return found
                held.enter_context(self._lock(f"{kind}-{key[:2]}"))
                # Another process may have made it while this one waited.
                if (found := self._open(name)) is not None:
                    return found
            except OSError as error:
                self._warn(error)
                return make()
            made = make()
            try:
                self._keep(name, made)
            except OSError as error:
                self._warn(error)
            return made

    def files(self) -> list[tuple[Path, os.stat_result]]:
        """All files, the one that was used longest ago first."""
        found = []
        for path in self.folder.glob(f"*{_SUFFIX}"):
            try:
                found.append((path, path.stat()))
            except FileNotFoundError:
                continue  # Another process removed it.
        return sorted(found, key=lambda each: (each[1].st_mtime_ns, each[0].name))

    def shrink(self, limit: int) -> int:
        """Remove what was used longest ago until the rest fits; the bytes that are left.

        A process that has mapped a file keeps what it sees: the file goes when it lets go.
        """
        files = self.files()
        size = sum(status.st_size for _, status in files)
        for path, status in files:
            if size <= limit:
                break
            path.unlink(missing_ok=True)
            size -= status.st_size
        return size

    def remove_unused_since(self, moment: float) -> None:
        """Remove what was last used before a moment, seconds since 1970."""
        for path, status in self.files():
            if status.st_mtime < moment:
                path.unlink(missing_ok=True)

    def _warn(self, error: OSError) -> None:
        _logger.warning("prepared surgery is not kept in %s: %s.", self.folder, error)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{_SUFFIX}"

    def _open(self, name: str) -> dict[str, Tensor] | None:
        path = self._path(name)
        try:
            with safe_open(path, "pt") as file:
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                checksum = (file.metadata() or {}).get(_CHECKSUM)
            if checksum == _checksum(found):
                os.utime(path)
                return found
        except FileNotFoundError:
            return None
        except SafetensorError as error:
            _logger.warning("%s: %s.", path, error)
        _logger.warning("%s is damaged and is made anew.", path)
        path.unlink(missing_ok=True)
        return None

    def _keep(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        metadata = {_CHECKSUM: _checksum(tensors)}
        data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata)
        if not self._makes_room(len(data)):
            return
        # Written under the lock: what a killed process left is overwritten.
        temporary = self.folder / f".{name}.tmp"
        try:
            temporary.write_bytes(data)
            temporary.replace(self._path(name))
        finally:
            temporary.unlink(missing_ok=True)

    def _makes_room(self, size: int) -> bool:
        """Whether a file of so many bytes fits, once others have gone.

        All files are looked through only when this process has written its share of what was free
        when it last did: with 3,000 files every look takes 0.1 s, several times what it keeps.
        """
        if size <= self._free.share:
            self._free.share -= size
            return True
        used = self.shrink(max(self.limit - size, 0))
        if used + size > self.limit:
            return False
        if used > _FULL * self.limit:
            used = self.shrink(max(int(_FULL * self.limit) - size, 0))
        self._free.share = (self.limit - used - size) // _SHARES
        return True

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        # 256 files for all keys of a kind: locks need no cleaning up.
        with (self.folder / f".{name}.lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    value = 0
    for name in sorted(tensors):
        flat = tensors[name].contiguous().reshape(-1).view(torch.uint8)
        value = zlib.crc32(flat.numpy().data, zlib.crc32(name.encode(), value))
    return f"{value:08x}"
