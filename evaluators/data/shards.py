"""The Parquet files behind one data set: which they are, their columns, labels and classes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow.fs import FileType

from ...spaces.errors import BadInput, CorruptFile
from .location import Location

_IMAGE_NAMES = ("img", "image", "images", "jpg", "png")
_LABEL_NAMES = ("label", "labels", "fine_label", "target", "class", "cls")
_SPLIT_OF_SHARD = re.compile(r"(.+)-\d+-of-\d+.*")


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet file.

    Attributes:
        location: the file.
        image_column: column or nested field with the encoded images.
        label_column: column with the labels.
        classes: class names from the file's metadata, None where it has none.
        metadata: the file's footer, so that reading on needs not read it again.
    """

    location: Location
    image_column: str
    label_column: str
    classes: tuple[str, ...] | None
    metadata: pq.FileMetaData

    @classmethod
    def open(cls, path: Location, image_column: str | None, label_column: str | None) -> Shard:
        """Shard from the file's footer; a column that is not named is looked for.

        Raises:
            CorruptFile: no Parquet file, or a truncated one.
            BadInput: a column is missing or has a type that cannot be used.
        """
        with parquet_file(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
        label = _column(path, schema, "label", label_column, _LABEL_NAMES)
        if not pa.types.is_integer(schema.field(label).type):
            raise _wrong_type(path, schema, label, "integers")
        image = _column(path, schema, "image", image_column, _IMAGE_NAMES)
        return cls(
            path,
            _bytes_field(path, schema, image),
            label,
            _class_names(path, schema, label),
            metadata,
        )

    def __len__(self) -> int:
        return self.metadata.num_rows

    def group_ends(self) -> NDArray[np.int64]:
        """One past the last row of every row group, int64 [row groups]."""
        groups = range(self.metadata.num_row_groups)
        rows = [self.metadata.row_group(group).num_rows for group in groups]
        return np.cumsum(np.array(rows, np.int64))

    def fingerprint(self) -> list[str | int]:
        """Tell this state of this file from others without reading its images.

        Footer and size say what was written where, the time of change says that it was written
        anew, and the path tells apart two files that agree in all of that. A hash of the whole
        content would mean to read all of ImageNet before the first image.
        """
        info = self.location.info()
        footer = pa.BufferOutputStream()
        self.metadata.write_metadata_file(footer)
        digest = hashlib.sha256(footer.getvalue()).hexdigest()
        changed = info.mtime_ns if info.mtime_ns is not None else -1
        return [self.location.identity, info.size, changed, digest, self.image_column]

    def labels(self) -> NDArray[np.int64]:
        """All labels, int64 [rows].

        Raises:
            CorruptFile: a label is null, negative, or has no class.
        """
        with parquet_file(self.location, self.metadata) as file:
            column = file.read(columns=[self.label_column]).column(0).combine_chunks()
        if column.null_count:
            row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise CorruptFile(f"{self.location}, row {row}: the label is null; label every image.")
        labels = column.to_numpy().astype(np.int64)
        highest = len(self.classes) if self.classes else np.iinfo(np.int64).max
        wrong = np.flatnonzero((labels < 0) | (labels >= highest))
        if len(wrong):
            row = int(wrong[0])
            allowed = f"0..{highest - 1}" if self.classes else "0 and up"
            raise CorruptFile(
                f"{self.location}, row {row}: label {labels[row]}; allowed: {allowed}. "
                "A split whose labels are withheld cannot be used."
            )
        return labels

    def encoded(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, bytes]]:
        """Read the images in these rows, ascending: (number within the file, bytes).

        Only row groups that hold one of the rows are read, one at a time.

        Raises:
            CorruptFile: a row group cannot be read, or an image is null.
        """
        ends = self.group_ends()
        starts = np.concatenate([[0], ends[:-1]])
        groups = np.searchsorted(ends, rows, side="right")
        with parquet_file(self.location, self.metadata) as file:
            for group in np.unique(groups):
                wanted = rows[groups == group]
                local = pa.array(wanted - starts[group])
                table = file.read_row_group(int(group), columns=[self.image_column])
                column = table.flatten().column(0).take(local)
                for row, cell in zip(wanted, column, strict=True):
                    data = cell.as_py()
                    if data is None:
                        where = f"{self.location}, row {row}"
                        raise CorruptFile(
                            f"{where}: the image is null; store its bytes in the file."
                        )
                    yield int(row), data


@contextmanager
def parquet_file(
    path: Location, metadata: pq.FileMetaData | None = None
) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; what goes wrong in reading it is a CorruptFile that names it."""
    try:
        with pq.ParquetFile(
            path.path,
            metadata=metadata,
            filesystem=path.filesystem,
            page_checksum_verification=True,
        ) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        remedy = "copy it again" if path.local else "check the connection, or copy it again"
        raise CorruptFile(
            f"{path}: not a readable Parquet file ({error}); it may be truncated: {remedy}."
        ) from error


def find_files(path: Location) -> list[Location]:
    """List the files that a path means: itself, or the shards of a folder or pattern, by name.

    Raises:
        BadInput: nothing there, or the shards of several splits, which must not be mixed.
    """
    kind, pure = path.info().type, PurePosixPath(path.path)
    if kind == FileType.File:
        return [path]
    is_folder = kind == FileType.Directory
    folder, pattern = (pure, "*.parquet") if is_folder else (pure.parent, pure.name)
    if pattern == pure.name and "*" not in pattern:
        raise BadInput(f"{path}: no such file or folder; give a Parquet file or its folder.")
    listed = [(PurePosixPath(file.path).name, file) for file in path.at(str(folder)).files()]
    files = [f for name, f in listed if fnmatchcase(name, pattern) and name[0] not in "._"]
    if not files:
        raise BadInput(f"{path}: holds no .parquet file; give a Parquet file or its folder.")
    splits = sorted({_split_name(file) for file in files})
    if len(splits) > 1 and all(splits):
        raise BadInput(
            f"{path}: holds the shards of several splits ({', '.join(splits)}); "
            f"name one of them, e.g. {path.at(str(folder / splits[0]))}-*.parquet."
        )
    return files


def _split_name(file: Location) -> str:
    match = _SPLIT_OF_SHARD.fullmatch(file.stem)
    return match[1] if match else ""


def _column(
    path: Location, schema: pa.Schema, what: str, asked: str | None, usual: Sequence[str]
) -> str:
    names = [asked] if asked else usual
    for name in names:
        if name in schema.names:
            return name
    columns = ", ".join(f"{field.name}: {field.type}" for field in schema)
    missing = f"no {what} column {asked!r}" if asked else f"no {what} column by a usual name"
    raise BadInput(f"{path}: {missing}; its columns are {columns}. Pass {what}_column.")


def _bytes_field(path: Location, schema: pa.Schema, column: str) -> str:
    kind = schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        column, kind = f"{column}.bytes", kind.field("bytes").type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return column
    raise _wrong_type(path, schema, column, "encoded images: binary, or struct {bytes, path}")


def _wrong_type(path: Location, schema: pa.Schema, column: str, wanted: str) -> BadInput:
    kind = schema.field(column.partition(".")[0]).type
    return BadInput(f"{path}: column {column!r} is {kind}; it must hold {wanted}.")


def _class_names(path: Location, schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """Class names where Hugging Face's `datasets` writes them."""
    stored = (schema.metadata or {}).get(b"huggingface")
    if stored is None:
        return None
    try:
        features = json.loads(stored)["info"]["features"]
        names = features[label].get("names")
        return tuple(str(name) for name in names) if names else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFile(
            f"{path}: its 'huggingface' metadata does not describe column {label!r} ({error!r})."
        ) from error
