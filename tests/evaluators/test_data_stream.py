from __future__ import annotations

import threading
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import png, random_images, write_images, write_parquet

from spikefront.evaluators.data import ImageStream, ParquetImages, load_splits, load_stream
from spikefront.evaluators.data import stream as stream_module
from spikefront.evaluators.data.decode import Decoding
from spikefront.spaces import BadInput, CorruptFile

COUNT = 60


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Three shards of five row groups each, and a test file."""
    images, folder = random_images(COUNT, side=8), tmp_path / "train"
    folder.mkdir()
    for n in range(3):
        part = images[n * 20 : n * 20 + 20]
        write_images(folder / f"train-0000{n}-of-00003.parquet", part, class_count=5)
    test = write_images(tmp_path / "test.parquet", random_images(9, seed=2, side=8), class_count=5)
    return {
        "name": "parquet",
        "train": str(folder),
        "test": str(test),
        "calibration": 7,
        "search": 11,
    }


def opened(settings: dict[str, Any], **more: Any) -> ImageStream:
    stream = load_stream({**settings, "stream": True, **more})
    assert stream is not None
    return stream


def epoch(stream: ImageStream, number: int = 0, batch: int = 8, seed: int = 0) -> Any:
    batches = list(stream.batches(number, batch, seed))
    assert all(images.dtype == np.uint8 and images.flags.c_contiguous for images, _ in batches)
    assert all(labels.dtype == np.int64 for _, labels in batches)
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_an_epoch_shows_every_training_image_once_and_no_held_out_one(
    settings: dict[str, Any],
) -> None:
    splits, stream = load_splits(settings), opened(settings)
    images, labels = epoch(stream)
    assert len(stream) == len(images) == 42
    assert stream.classes == splits.train.classes
    assert stream.name == "train"
    pairs = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    train = zip(splits.train.images, splits.train.labels, strict=True)
    assert pairs == {image.tobytes(): label for image, label in train}
    for held_out in (splits.calibration, splits.search, splits.test):
        assert not pairs.keys() & {image.tobytes() for image in held_out.images}


def test_held_out_rows_are_not_even_decoded(settings: dict[str, Any], tmp_path: Path) -> None:
    source = ParquetImages.open(settings["train"])
    rows = opened(settings).rows
    encoded = [
        png(i) if n in rows else b"broken" for n, i in enumerate(source.load(range(60)).images)
    ]
    path = write_parquet(tmp_path / "partly.parquet", encoded, source.labels.tolist())
    images, _ = epoch(opened({**settings, "train": str(path)}))
    assert len(images) == 42


def test_splits_of_a_stream_hold_no_training_images(settings: dict[str, Any]) -> None:
    splits = load_splits({**settings, "stream": True, "crop_scale": 0.5, "size": 8})
    assert [len(data) for data in splits.named().values()] == [0, 7, 11, 9]
    assert splits.search.digest == load_splits(settings).search.digest


def test_order_is_that_of_seed_and_epoch(settings: dict[str, Any], monkeypatch: Any) -> None:
    stream = opened(settings)
    first = epoch(stream)[0]
    assert np.array_equal(epoch(stream, batch=13)[0], first)
    monkeypatch.setattr(stream_module, "decode_threads", lambda: 1)
    assert np.array_equal(epoch(opened(settings))[0], first)
    for other in (epoch(stream, number=1)[0], epoch(stream, seed=1)[0]):
        assert not np.array_equal(other, first)
        assert {i.tobytes() for i in other} == {i.tobytes() for i in first}


def test_the_buffer_mixes_row_groups(settings: dict[str, Any]) -> None:
    source = ParquetImages.open(settings["train"])
    row_of = {image.tobytes(): n for n, image in enumerate(source.load(range(COUNT)).images)}

    def neighbours(buffer: int) -> int:
        rows = [row_of[i.tobytes()] for i in epoch(opened(settings, shuffle_buffer=buffer))[0]]
        return sum(b - a == 1 for a, b in pairwise(rows))

    assert neighbours(1) > 15
    assert neighbours(100) < 8


def test_the_last_batch_is_what_is_left(settings: dict[str, Any]) -> None:
    sizes = [len(labels) for _, labels in opened(settings).batches(0, 16, 0)]
    assert sizes == [16, 16, 10]


def test_random_crops_follow_seed_and_epoch(settings: dict[str, Any]) -> None:
    stream = opened(settings, size=6, crop_scale=0.08)
    first = epoch(stream)[0]
    assert first.shape == (42, 3, 6, 6)
    assert np.array_equal(epoch(stream, batch=42)[0], first)
    seen = {image.tobytes() for image in first}
    assert len(seen & {image.tobytes() for image in epoch(stream, number=1)[0]}) < 5
    centers = {image.tobytes() for image in epoch(opened(settings, size=6))[0]}
    assert len(seen & centers) < 5


def test_a_corrupt_row_is_named(tmp_path: Path) -> None:
    encoded: list[bytes | None] = [png(image) for image in random_images(30)]
    encoded[17] = b"\x89PNG cut short"
    source = ParquetImages.open(write_parquet(tmp_path / "x.parquet", encoded, [0, 1] * 15))
    stream = ImageStream(source, np.arange(30), Decoding())
    with pytest.raises(CorruptFile, match=r"x\.parquet, row 17: the image cannot be decoded"):
        epoch(stream)


def test_unlike_sizes_need_a_size(tmp_path: Path) -> None:
    encoded = [png(image) for side in (6, 8) for image in random_images(4, side=side)]
    source = ParquetImages.open(write_parquet(tmp_path / "x.parquet", encoded, [0, 1] * 4))
    with pytest.raises(BadInput, match=r"x\.parquet, row \d.*pass size"):
        epoch(ImageStream(source, np.arange(8), Decoding()))
    assert len(epoch(ImageStream(source, np.arange(8), Decoding(size=5)))[0]) == 8


def test_a_loop_that_stops_early_leaves_no_thread(
    settings: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr(stream_module, "decode_threads", lambda: 3)
    batches = opened(settings).batches(0, 4, 0)
    assert isinstance(batches, Generator)
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"stream": 1}, "'stream' is 1; give true or false"),
        ({"crop_scale": 0.1}, "crop_scale without stream: true"),
        ({"stream": True, "crop_scale": 0.1}, "crop_scale without size"),
        ({"stream": True, "crop_scale": 0, "size": 4}, "crop_scale 0; give a share"),
        ({"stream": True, "crop_scale": float("nan"), "size": 4}, "crop_scale nan"),
        ({"stream": True, "crop_scale": "small"}, "'crop_scale' is 'small'; give a number"),
        ({"stream": True, "shuffle_buffer": 0}, "shuffle_buffer 0"),
        ({"stream": True, "size": 8, "resize": 4}, "resize 4 with size 8"),
    ],
)
def test_unusable_settings(settings: dict[str, Any], more: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_stream({**settings, **more})


def test_a_foreign_checkpoint_has_no_stream(settings: dict[str, Any]) -> None:
    foreign = {"name": "parquet", "validation": settings["test"], "stream": True}
    for load in (load_stream, load_splits):
        with pytest.raises(BadInput, match="stream with validation"):
            load(foreign)
    assert load_stream({"name": "digits"}) is None
    assert load_stream({**settings, "stream": False}) is None


@pytest.mark.parametrize(("number", "batch", "seed"), [(0, 0, 0), (-1, 4, 0), (0, 4, -1)])
def test_unusable_numbers(settings: dict[str, Any], number: int, batch: int, seed: int) -> None:
    with pytest.raises(BadInput, match="batch_size"):
        opened(settings).batches(number, batch, seed)
