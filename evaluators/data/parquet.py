"""Images from Parquet files in the layout of Hugging Face image data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...spaces.errors import BadInput
from .ahead import chunks, decode_threads, map_ahead
from .dataset import ImageData
from .decode import Decoding, decode_image
from .location import Location
from .shards import Shard, find_files

Allocate = Callable[[tuple[int, ...]], NDArray[np.uint8]]
"""Makes an array of uint8 of this shape, whose content does not matter."""

_CHUNK = 32
"""Images that a thread decodes at a time; one would spend more on handing over small ones."""


def new_array(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Array in memory."""
    return np.empty(shape, np.uint8)


@dataclass(frozen=True, eq=False)
class ParquetImages:
    """Opened Parquet files: labels are in memory, images are decoded when they are asked for.

    Rows are numbered through all files in order.

    Attributes:
        shards: the files, sorted by name.
        labels: int64 [rows].
        classes: names from the metadata, else "0", "1", … up to the highest label.
        name: the name of the file or folder without its ending.
    """

    shards: tuple[Shard, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    name: str

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        image_column: str | None = None,
        label_column: str | None = None,
    ) -> ParquetImages:
        """Open one file, a folder of shards, or a pattern such as ``data/train-*.parquet``.

        A path on this machine, or a URL of pyarrow's file systems; see `Location.parse`.

        Raises:
            CorruptFile: a file is no Parquet or truncated; a label is null or out of range.
            BadInput: nothing there, no rows, unusable columns, or unlike class names.
        """
        location = Location.parse(path)
        shards = [Shard.open(file, image_column, label_column) for file in find_files(location)]
        named = {shard.classes for shard in shards}
        if len(named) > 1:
            raise BadInput(f"{location}: the files name unlike classes; give one data set.")
        labels = np.concatenate([shard.labels() for shard in shards])
        if not len(labels):
            raise BadInput(f"{location}: holds no rows.")
        classes = named.pop() or tuple(str(label) for label in range(labels.max() + 1))
        return cls(tuple(shards), labels, classes, location.stem)

    def __len__(self) -> int:
        return len(self.labels)

    def starts(self) -> NDArray[np.int64]:
        """Row number that the first row of every shard has, int64 [shards]."""
        ends = np.cumsum([len(shard) for shard in self.shards])
        return np.concatenate([[0], ends[:-1]]).astype(np.int64)

    def load(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        *,
        size: int | None = None,
        channels: int = 3,
        resize: int | None = None,
    ) -> ImageData:
        """Decode the images with these row numbers, in this order.

        Args:
            indices: row numbers.
            size: height and width in pixels (shorter side resized, center cut out);
                None takes the images as they are.
            channels: 3 (RGB) or 1 (grey).
            resize: length of the shorter side before the center is cut out; None means `size`.

        Raises:
            CorruptFile: an image is missing or cannot be decoded; names file and row.
            BadInput: row numbers out of range, or images of unlike sizes and no `size`.
        """
        rows = np.asarray(indices, dtype=np.int64)
        images = self.pixels(rows, Decoding(channels, size, resize))
        return ImageData(images, self.labels[rows], self.classes, self.name)

    def pixels(
        self,
        rows: NDArray[np.int64],
        decoding: Decoding,
        allocate: Allocate = new_array,
        report: Callable[[int], None] | None = None,
    ) -> NDArray[np.uint8]:
        """Images with these row numbers, uint8 [rows, C, H, W]; errors are those of `load`.

        Args:
            rows: row numbers, int64, in any order.
            decoding: what images are made into.
            allocate: makes the array, once the shape of the first image is known.
            report: called with the number of images that are done.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise BadInput(f"{self.name}: rows {rows.min()}..{rows.max()} of {len(self)}.")
        side = decoding.size or 0
        images = np.empty((0, decoding.channels, side, side), np.uint8)
        ascending = np.argsort(rows, kind="stable")
        for done, (where, image) in enumerate(decoded(self._encoded(rows), decoding)):
            if not done:
                images = allocate((len(rows), *image.shape))
            check_shape(where, image, images.shape[1:])
            images[ascending[done]] = image
            if report is not None:
                report(done + 1)
        return images

    def _encoded(self, rows: NDArray[np.int64]) -> Iterator[tuple[str, bytes]]:
        for shard, start in zip(self.shards, self.starts(), strict=True):
            wanted = rows[(start <= rows) & (rows < start + len(shard))]
            for row, data in shard.encoded(np.sort(wanted) - start):
                yield f"{shard.location}, row {row}", data


def decoded(
    encoded: Iterator[tuple[str, bytes]], decoding: Decoding
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Decode images on several threads, in order: (file and row, pixels)."""

    def decode(chunk: list[tuple[str, bytes]]) -> list[tuple[str, NDArray[np.uint8]]]:
        return [(where, decode_image(data, decoding, where)) for where, data in chunk]

    for chunk in map_ahead(decode, chunks(encoded, _CHUNK), decode_threads()):
        yield from chunk


def check_shape(where: str, image: NDArray[np.uint8], wanted: tuple[int, ...]) -> None:
    """Refuse an image that is not like the others.

    Raises:
        BadInput: it is not.
    """
    if image.shape != wanted:
        raise BadInput(
            f"{where}: the image is {image.shape[1:]} and others are {wanted[1:]} "
            "(height, width); pass size to make them equal."
        )


def load_parquet(
    path: str | Path,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    limit: int | None = None,
    indices: Sequence[int] | NDArray[np.int64] | None = None,
    size: int | None = None,
    channels: int = 3,
    resize: int | None = None,
) -> ImageData:
    """Decode images of a file or folder: all, the first `limit`, or those of `indices`.

    Only what is asked for is decoded. See `ParquetImages` for arguments and errors.
    """
    if limit is not None and (limit < 1 or indices is not None):
        raise BadInput(f"limit {limit}: give a number above 0, and no indices with it.")
    source = ParquetImages.open(path, image_column=image_column, label_column=label_column)
    if indices is None:
        count = len(source) if limit is None else min(limit, len(source))
        indices = np.arange(count, dtype=np.int64)
    return source.load(indices, size=size, channels=channels, resize=resize)
