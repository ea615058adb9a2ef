"""Training images that are too many to hold: read, shuffled and decoded as they are used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...spaces.errors import BadInput
from .ahead import chunks, decode_threads, map_ahead
from .crop import RandomCrop
from .decode import Decoding, decode_image
from .parquet import ParquetImages, check_shape
from .shards import Shard

BUFFER = 4096
"""Encoded images in the shuffle buffer: about 450 MB of ImageNet's JPEGs."""

_CHUNK = 16
_GROUPS, _SLOTS = 0, 1
"""Numbers of the uses of a seed; `crop` has the next one."""


class _Encoded(NamedTuple):
    row: int
    where: str
    data: bytes


@dataclass(frozen=True, eq=False)
class ImageStream:
    """Training images of Parquet files, never all in memory.

    An epoch takes the row groups of all files in random order, one at a time, and sends their
    images through a shuffle buffer, still encoded. Order and crops depend on seed, epoch and
    row numbers only, not on threads or batch size.

    Attributes:
        source: the opened files.
        rows: row numbers of the training images, int64 [N]; no other row is ever read out.
        decoding: what images are made into.
        crop_scale: smallest share of an image's area that a random crop shows, e.g. 0.08;
            None takes the center, as evaluation does.
        buffer: number of images in the shuffle buffer; 1 keeps the order within row groups.

    Raises:
        BadInput: no rows, or repeated ones; a share outside 0 < x <= 1 or without a size; a
            buffer below 1.
    """

    source: ParquetImages
    rows: NDArray[np.int64]
    decoding: Decoding
    crop_scale: float | None = None
    buffer: int = BUFFER

    def __post_init__(self) -> None:
        if not len(self.rows) or len(np.unique(self.rows)) < len(self.rows):
            raise BadInput(f"{self.name}: {len(self.rows)} rows to stream; give each one once.")
        if self.crop_scale is not None and not 0 < self.crop_scale <= 1:
            raise BadInput(f"crop_scale {self.crop_scale}; give a share: 0 < crop_scale <= 1.")
        if self.crop_scale is not None and self.decoding.size is None:
            raise BadInput("crop_scale without size; give the size that crops are resized to.")
        if self.buffer < 1:
            raise BadInput(f"shuffle_buffer {self.buffer}; give at least 1 image.")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes."""
        return self.source.classes

    @property
    def name(self) -> str:
        """Where the images come from, for reports."""
        return self.source.name

    def batches(
        self, epoch: int, batch_size: int, seed: int
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """One epoch: (images uint8 [B, C, H, W], labels int64 [B]); the last may be smaller.

        Args:
            epoch: number of the epoch, from 0; each has its own order and crops.
            batch_size: B.
            seed: of the training run.

        Raises:
            BadInput: a batch size below 1, a negative epoch or seed; in an epoch, images of
                unlike sizes and no `size`.
            CorruptFile: in an epoch, a row that cannot be decoded; names file and row.
        """
        if batch_size < 1 or epoch < 0 or seed < 0:
            got = f"batch_size {batch_size}, epoch {epoch}, seed {seed}"
            raise BadInput(f"{got}; give at least 1 image, and 0 or more for the others.")
        return self._batches(epoch, batch_size, seed)

    def _batches(
        self, epoch: int, batch_size: int, seed: int
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        for batch in chunks(self._decoded(epoch, seed), batch_size):
            first = batch[0][1]
            for item, image in batch:
                check_shape(item.where, image, first.shape)
            rows = [item.row for item, _ in batch]
            # Pillow's pixels come channels last, and `stack` alone would keep them so.
            images = np.ascontiguousarray(np.stack([image for _, image in batch]))
            yield images, self.source.labels[rows]

    def _decoded(self, epoch: int, seed: int) -> Iterator[tuple[_Encoded, NDArray[np.uint8]]]:
        def decode(chunk: list[_Encoded]) -> list[tuple[_Encoded, NDArray[np.uint8]]]:
            return [(item, self._decode(item, epoch, seed)) for item in chunk]

        slots = np.random.PCG64(np.random.SeedSequence((seed, epoch, _SLOTS)))
        items = _shuffled(self._encoded(epoch, seed), self.buffer, slots)
        for chunk in map_ahead(decode, chunks(items, _CHUNK), decode_threads()):
            yield from chunk

    def _decode(self, item: _Encoded, epoch: int, seed: int) -> NDArray[np.uint8]:
        crop = None
        if self.crop_scale is not None:
            crop = RandomCrop(self.crop_scale, seed, epoch, item.row)
        return decode_image(item.data, self.decoding, item.where, crop)

    def _encoded(self, epoch: int, seed: int) -> Iterator[_Encoded]:
        """Rows of all row groups, which are in random order."""
        parts = list(self._parts())
        order = np.random.PCG64(np.random.SeedSequence((seed, epoch, _GROUPS)))
        for part in np.argsort(order.random_raw(len(parts)), kind="stable"):
            shard, start, rows = parts[part]
            for row, data in shard.encoded(rows):
                yield _Encoded(start + row, f"{shard.location}, row {row}", data)

    def _parts(self) -> Iterator[tuple[Shard, int, NDArray[np.int64]]]:
        """Row groups that hold any of the rows: file, its first row, rows within the file."""
        rows = np.sort(self.rows)
        for shard, start in zip(self.source.shards, self.source.starts().tolist(), strict=True):
            cuts = np.searchsorted(rows, start + np.concatenate([[0], shard.group_ends()]))
            for first, last in pairwise(cuts):
                if first < last:
                    yield shard, start, rows[first:last] - start


def _shuffled(items: Iterator[_Encoded], size: int, draws: np.random.PCG64) -> Iterator[_Encoded]:
    """Every item once; each leaves a buffer of this size when a later one takes its place."""
    kept: list[_Encoded] = []
    for item in items:
        if len(kept) < size:
            kept.append(item)
            continue
        slot = int(draws.random_raw()) % size
        leaving, kept[slot] = kept[slot], item
        yield leaving
    while kept:
        slot = int(draws.random_raw()) % len(kept)
        kept[slot], kept[-1] = kept[-1], kept[slot]
        yield kept.pop()
