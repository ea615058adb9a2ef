from __future__ import annotations

import hashlib

import numpy as np
import pytest
from data_files import random_images

from spikefront.evaluators.data import ImageData
from spikefront.spaces import BadInput


def make(count: int = 4, classes: int = 3, name: str = "made") -> ImageData:
    labels = np.arange(count, dtype=np.int64) % classes
    return ImageData(random_images(count), labels, tuple("abcdef"[:classes]), name)


def test_digest_is_sha256_over_shape_pixels_and_labels() -> None:
    pixels = np.array([[[[1, 2], [3, 4]]]], np.uint8)
    data = ImageData(pixels, np.array([2], np.int64), ("a", "b", "c"), "x")
    content = b"(1, 1, 2, 2)" + bytes([1, 2, 3, 4]) + (2).to_bytes(8, "little")
    assert data.digest == hashlib.sha256(content).hexdigest()


def test_digest_sees_pixels_labels_and_shape_but_not_the_name() -> None:
    data = make()
    pixels = data.images.copy()
    pixels[3, 2, 5, 5] ^= 1
    changed = ImageData(pixels, data.labels, data.classes, data.name)
    relabelled = ImageData(data.images, np.roll(data.labels, 1), data.classes, data.name)
    reshaped = ImageData(data.images.reshape(4, 3, 4, 9), data.labels, data.classes, data.name)
    digests = {d.digest for d in (data, changed, relabelled, reshaped)}
    assert len(digests) == 4
    assert make(name="other").digest == data.digest


def test_digest_does_not_depend_on_memory_layout() -> None:
    data = make()
    transposed = np.asfortranarray(data.images)
    assert ImageData(transposed, data.labels, data.classes, "f").digest == data.digest


def test_take_copies_rows_in_the_given_order() -> None:
    data = make()
    taken = data.take([2, 0])
    assert len(taken) == 2
    assert np.array_equal(taken.images, data.images[[2, 0]])
    assert taken.labels.tolist() == [2, 0]
    assert taken.classes == data.classes
    assert len(data.take([])) == 0


def test_arrays_are_read_only_and_the_callers_stay_writable() -> None:
    pixels = random_images(2)
    data = ImageData(pixels, np.zeros(2, np.int64), ("a",), "x")
    with pytest.raises(ValueError, match="read-only"):
        data.images[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        data.labels[0] = 0
    pixels[0] = 0


def test_image_hashes_tell_images_apart_by_pixels_alone() -> None:
    data = make().take([0, 1, 0])
    first, second, again = data.image_hashes()
    assert first == again != second


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3, 4, 4), np.float32), np.zeros(2, np.int64), "float32"),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.int64), r"\[N, C, H, W\]"),
        (np.zeros((2, 3, 4, 4), np.uint8), np.zeros(2, np.int32), "int32"),
        (np.zeros((2, 3, 4, 4), np.uint8), np.zeros(3, np.int64), r"int64 \[2\]"),
        (np.zeros((2, 3, 4, 4), np.uint8), np.array([0, 2]), r"labels 0\.\.2 for 2 classes"),
        (np.zeros((2, 3, 4, 4), np.uint8), np.array([0, -1]), r"labels -1\.\.0 for 2 classes"),
    ],
)
def test_wrong_arrays_are_refused(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        ImageData(images, labels, ("a", "b"), "x")
