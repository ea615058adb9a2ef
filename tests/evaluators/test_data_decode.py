from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from data_files import png, random_images
from PIL import Image

from spikefront.evaluators.data.ahead import map_ahead
from spikefront.evaluators.data.crop import RandomCrop
from spikefront.evaluators.data.decode import Decoding, decode_image
from spikefront.spaces import BadInput


def gradient(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 255 // height, columns * 255 // width, rows * 0]).astype(np.uint8)


def test_resize_then_center_crop() -> None:
    image = gradient(40, 80)
    got = decode_image(png(image), Decoding(size=16, resize=20), "x")
    whole = Image.fromarray(image.transpose(1, 2, 0)).resize((40, 20), Image.Resampling.BICUBIC)
    expected = np.asarray(whole).transpose(2, 0, 1)[:, 2:18, 12:28]
    assert np.array_equal(got, expected)
    same = decode_image(png(image), Decoding(size=16, resize=16), "x")
    assert np.array_equal(same, decode_image(png(image), Decoding(size=16), "x"))


@pytest.mark.parametrize(("size", "resize"), [(None, 8), (8, 7)])
def test_resize_must_leave_enough_for_the_crop(size: int | None, resize: int) -> None:
    with pytest.raises(BadInput, match=f"resize {resize} with size {size}"):
        Decoding(size=size, resize=resize)


def test_jpeg_in_grey_and_colour() -> None:
    buffer = io.BytesIO()
    Image.fromarray(gradient(16, 16).transpose(1, 2, 0)).save(buffer, format="JPEG", quality=95)
    colour = decode_image(buffer.getvalue(), Decoding(), "x")
    assert np.abs(colour.astype(int) - gradient(16, 16)).mean() < 6
    assert decode_image(buffer.getvalue(), Decoding(channels=1, size=8), "x").shape == (1, 8, 8)


def test_random_boxes_lie_inside_and_have_the_promised_area() -> None:
    areas = []
    for row in range(300):
        left, top, right, bottom = RandomCrop(0.08, 1, 2, row).box(100, 60)
        assert 0 <= left < right <= 100
        assert 0 <= top < bottom <= 60
        areas.append((right - left) * (bottom - top) / 6000)
        assert 0.7 < (right - left) / (bottom - top) < 1.42
    assert 0.07 < min(areas) < 0.15
    assert max(areas) > 0.7


def test_random_boxes_depend_on_all_of_seed_epoch_and_row() -> None:
    def box(*numbers: int) -> tuple[float, ...]:
        return RandomCrop(0.08, *numbers).box(500, 500)

    assert box(1, 2, 3) == box(1, 2, 3)
    assert len({box(1, 2, 3), box(2, 2, 3), box(1, 1, 3), box(1, 2, 4)}) == 4
    # Resumed trainings rest on these numbers: they must never change.
    assert box(1, 2, 3) == (153, 138, 493, 471)


def test_a_strip_has_a_center_box() -> None:
    left, top, right, bottom = RandomCrop(1.0, 0, 0, 0).box(900, 30)
    assert (top, bottom) == (0, 30)
    assert right - left == 40
    assert left == 430


def test_crop_is_what_pillow_resizes_from_the_box() -> None:
    image, crop = random_images(1, side=40)[0], RandomCrop(0.2, 5, 0, 7)
    got = decode_image(png(image), Decoding(size=8), "x", crop)
    pil = Image.fromarray(image.transpose(1, 2, 0))
    expected = pil.resize((8, 8), Image.Resampling.BICUBIC, box=crop.box(40, 40))
    assert np.array_equal(got, np.asarray(expected).transpose(2, 0, 1))


@pytest.mark.parametrize("threads", [1, 3])
def test_map_ahead_keeps_order_and_raises_in_place(threads: int) -> None:
    def inverse(number: int) -> float:
        return 1 / number

    assert list(map_ahead(inverse, range(1, 50), threads)) == [1 / n for n in range(1, 50)]
    results = map_ahead(inverse, [1, 2, 0, 4], threads)
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_ahead_takes_only_a_few_items() -> None:
    taken = []
    results = map_ahead(str, (taken.append(n) or n for n in range(1000)), 2)
    assert next(results) == "0"
    assert len(taken) <= 5
    results.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]
