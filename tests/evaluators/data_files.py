"""Small Parquet files of images for tests, in the layout of Hugging Face data sets."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image


def random_images(count: int, seed: int = 0, side: int = 6) -> NDArray[np.uint8]:
    """uint8 [count, 3, side, side]; no two alike."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), dtype=np.uint8)


def png(image: NDArray[np.uint8]) -> bytes:
    """Encode [C, H, W] without loss."""
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return buffer.getvalue()


def write_parquet(
    path: Path,
    encoded: Sequence[bytes | None],
    labels: Sequence[int | None],
    *,
    columns: tuple[str, str] = ("img", "label"),
    nested: bool = True,
    classes: Sequence[str] | None = None,
    group: int = 4,
) -> Path:
    """Write one file; `nested` chooses struct {bytes, path} over a plain binary column."""
    cells: list[Any] = [{"bytes": b, "path": f"{i}.png"} for i, b in enumerate(encoded)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array(cells, kind) if nested else pa.array(encoded, pa.binary())
    table = pa.table({columns[0]: images, columns[1]: pa.array(labels, pa.int64())})
    if classes is not None:
        feature = {"names": list(classes), "_type": "ClassLabel"}
        info = {"info": {"features": {columns[1]: feature}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, path, row_group_size=group)
    return path


def write_images(
    path: Path,
    images: NDArray[np.uint8],
    class_count: int = 2,
    classes: Sequence[str] | None = None,
    group: int = 4,
) -> Path:
    """Write images as PNG, labelled 0, 1, … in turn."""
    labels = [i % class_count for i in range(len(images))]
    return write_parquet(path, [png(i) for i in images], labels, classes=classes, group=group)
