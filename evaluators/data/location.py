"""Where a file lies: on this machine, or on any file system that pyarrow can reach by URL."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem

from ...spaces.errors import BadInput

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_SECRETS = re.compile(r"//[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Location:
    """A path on a file system.

    Attributes:
        filesystem: pyarrow's.
        path: as that file system names it.
        prefix: what stands before the path where it is shown, e.g. ``s3://``.
    """

    filesystem: FileSystem
    path: str
    prefix: str = ""

    @classmethod
    def parse(cls, given: str | Path) -> Location:
        """Location of a path, or of a URL such as ``s3://bucket/folder/train-*.parquet``.

        Only a URL may reach out of this machine; pyarrow asks S3 for the region of a bucket here.

        Raises:
            BadInput: a URL that pyarrow does not know or cannot parse.
        """
        scheme = _URL.match(given) if isinstance(given, str) else None
        if scheme is None:
            return cls(LocalFileSystem(), str(Path(given).expanduser()))
        try:
            filesystem, path = FileSystem.from_uri(given)
        # ImportError: pyarrow hands some schemes to packages that may not be installed.
        except (pa.ArrowException, OSError, ValueError, TypeError, ImportError) as error:
            raise BadInput(
                f"{_public(str(given))}: not a usable URL ({_public(str(error))}); give a path, "
                "or a URL of pyarrow's, such as s3://bucket/folder, gs://…, hdfs://… or file:///…"
            ) from None
        return cls(filesystem, path, f"{scheme[1]}://")

    def __str__(self) -> str:
        """As shown to people and kept in records: without the credentials of a URL."""
        return self.prefix + self.path

    @property
    def local(self) -> bool:
        """Whether the file is on this machine (or mounted into it)."""
        return isinstance(self.filesystem, LocalFileSystem)

    @property
    def stem(self) -> str:
        """Name without folder and ending."""
        return PurePosixPath(self.path).stem

    @property
    def identity(self) -> str:
        """One name per file, however it was written."""
        return str(Path(self.path).resolve()) if self.local else str(self)

    def at(self, path: str) -> Location:
        """Return another path on the same file system."""
        return replace(self, path=path)

    def info(self) -> FileInfo:
        """Type, size and time of change.

        Raises:
            BadInput: the file system does not answer.
        """
        try:
            return self.filesystem.get_file_info(self.path)
        except OSError as error:
            raise self._unreachable(error) from error

    def files(self) -> list[Location]:
        """List the files in this folder, none where it is missing, sorted by name.

        Raises:
            BadInput: the file system does not answer, or the folder may not be read.
        """
        try:
            found = self.filesystem.get_file_info(FileSelector(self.path, allow_not_found=True))
        except OSError as error:
            raise self._unreachable(error) from error
        return [self.at(path) for path in sorted(f.path for f in found if f.type == FileType.File)]

    def _unreachable(self, error: OSError) -> BadInput:
        return BadInput(
            f"{self}: cannot be listed ({_public(str(error))}); check the path, the connection "
            "and the permissions."
        )


def _public(text: str) -> str:
    return _SECRETS.sub("//", text)
