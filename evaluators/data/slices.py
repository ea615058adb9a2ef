"""Loads the slices of a data set that a search or a training needs, through the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features

from .cache import GIB, DataCache, Origin
from .cache_file import FORMAT
from .dataset import ImageData
from .decode import Decoding
from .parquet import Allocate, ParquetImages

MOST_TRAINING_BYTES = 4 * GIB
"""Training images above this are not kept in the cache: they would push out all else."""


@dataclass(frozen=True, slots=True)
class SliceProgress:
    """How far the loading of one slice is.

    Attributes:
        split: what the images are for.
        source: name of the data set.
        done: images that are there.
        rows: images in all.
        origin: where they came from, once all are there.
    """

    split: str
    source: str
    done: int
    rows: int
    origin: Origin | None = None


Report = Callable[[SliceProgress], None]


def load_slice(
    source: ParquetImages,
    rows: NDArray[np.int64],
    decoding: Decoding,
    split: str,
    report: Report | None = None,
) -> ImageData:
    """Images with these row numbers, from the cache or decoded into it.

    Args:
        source: opened files.
        rows: row numbers, int64, in any order; none need no cache.
        decoding: what images are made into.
        split: what the images are for; does not change them.
        report: called while images are decoded, and once with their origin.

    Raises:
        CorruptFile, BadInput: as `ParquetImages.load`.
    """

    def tell(done: int, origin: Origin | None = None) -> None:
        if report is not None:
            report(SliceProgress(split, source.name, done, len(rows), origin))

    def build(allocate: Allocate) -> NDArray[np.uint8]:
        return source.pixels(rows, decoding, allocate, tell)

    if not len(rows):
        return ImageData(source.pixels(rows, decoding), source.labels[rows], *_names(source))
    cache = DataCache.from_environment()
    if split == "train" and _bytes(rows, decoding) > MOST_TRAINING_BYTES:
        cache = DataCache(cache.folder, 0)
    images, origin = cache.images(slice_key(source, rows, decoding), source.name, split, build)
    tell(len(rows), origin)
    return ImageData(images, source.labels[rows], *_names(source))


def slice_key(source: ParquetImages, rows: NDArray[np.int64], decoding: Decoding) -> str:
    """Content key, sha256 hex: what the files are, which rows, and how they are decoded.

    Versions of the decoders are part of it, because another JPEG decoder may give other pixels.
    """
    shards = [
        [int(start), *shard.fingerprint()]
        for shard, start in zip(source.shards, source.starts(), strict=True)
        if np.any((start <= rows) & (rows < start + len(shard)))
    ]
    wanted = np.ascontiguousarray(rows, dtype="<i8").tobytes()
    parts = {
        "format": FORMAT,
        "decoders": [PIL.__version__, *map(features.version, ("jpg", "zlib", "webp"))],
        "decoding": asdict(decoding),
        "shards": shards,
        "rows": hashlib.sha256(wanted).hexdigest(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _names(source: ParquetImages) -> tuple[tuple[str, ...], str]:
    return source.classes, source.name


def _bytes(rows: NDArray[np.int64], decoding: Decoding) -> int:
    """Bytes of the decoded images; of images without a given size that is not known before."""
    return len(rows) * decoding.channels * (decoding.size or 0) ** 2
