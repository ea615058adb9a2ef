"""Images from Parquet files in the layout of Hugging Face image data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...spaces.errors import BadInput, CorruptFile
from .dataset import ImageData
from .decode import MODES, decode_image
from .shards import Shard, find_files


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

        Raises:
            CorruptFile: a file is no Parquet or truncated; a label is null or out of range.
            BadInput: nothing there, no rows, unusable columns, or unlike class names.
        """
        path = Path(path).expanduser()
        shards = [Shard.open(file, image_column, label_column) for file in find_files(path)]
        named = {shard.classes for shard in shards}
        if len(named) > 1:
            raise BadInput(f"{path}: the files name unlike classes; give one data set.")
        labels = np.concatenate([shard.labels() for shard in shards])
        if not len(labels):
            raise BadInput(f"{path}: holds no rows.")
        classes = named.pop() or tuple(str(label) for label in range(labels.max() + 1))
        return cls(tuple(shards), labels, classes, path.stem)

    def __len__(self) -> int:
        return len(self.labels)

    def load(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        *,
        size: int | None = None,
        channels: int = 3,
    ) -> ImageData:
        """Decode the images with these row numbers, in this order.

        Args:
            indices: row numbers.
            size: height and width in pixels (shorter side resized, center cut out);
                None takes the images as they are.
            channels: 3 (RGB) or 1 (grey).

        Raises:
            CorruptFile: an image is missing or cannot be decoded; names file and row.
            BadInput: row numbers out of range, or images of unlike sizes and no `size`.
        """
        if channels not in MODES or (size is not None and size < 1):
            raise BadInput(f"channels {channels}, size {size}; allowed: 1 or 3, size above 0.")
        rows = np.asarray(indices, dtype=np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise BadInput(f"{self.name}: rows {rows.min()}..{rows.max()} of {len(self)}.")
        images = self._decode(rows, size, channels)
        return ImageData(images, self.labels[rows], self.classes, self.name)

    def _decode(
        self, rows: NDArray[np.int64], size: int | None, channels: int
    ) -> NDArray[np.uint8]:
        side = size or 0
        images = np.empty((len(rows), channels, side, side), np.uint8)
        ascending = np.argsort(rows, kind="stable")
        done = start = 0
        for shard in self.shards:
            end = start + sum(shard.group_rows)
            wanted = rows[(start <= rows) & (rows < end)]
            for row, data in shard.encoded(np.sort(wanted) - start):
                where = f"{shard.path}, row {row}"
                if data is None:
                    raise CorruptFile(f"{where}: the image is null; store its bytes in the file.")
                image = decode_image(data, channels, size, where)
                if not done:
                    images = np.empty((len(rows), *image.shape), np.uint8)
                if image.shape != images.shape[1:]:
                    raise BadInput(
                        f"{where}: the image is {image.shape[1:]} and others are "
                        f"{images.shape[2:]} (height, width); pass size to make them equal."
                    )
                images[ascending[done]] = image
                done += 1
            start = end
        return images


def load_parquet(
    path: str | Path,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    limit: int | None = None,
    indices: Sequence[int] | NDArray[np.int64] | None = None,
    size: int | None = None,
    channels: int = 3,
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
    return source.load(indices, size=size, channels=channels)
