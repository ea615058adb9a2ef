"""Random operations on images: what they change, what they leave, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from spikefront.evaluators.training.policy import OPERATIONS, vary
from spikefront.spaces import BadInput


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, channels: int = 3) -> NDArray[np.uint8]:
    random = np.random.default_rng(0)
    # Dull and smooth enough that every operation has something to change.
    coarse = random.integers(40, 200, (count, channels, 8, 8))
    return coarse.repeat(4, axis=2).repeat(4, axis=3).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_keeps_size_and_changes_something(name: str, channels: int) -> None:
    pixels = images(1, channels)[0]
    picture = Image.fromarray(pixels[0] if channels == 1 else np.moveaxis(pixels, 0, -1).copy())
    for strength in (-0.9, 0.9):
        varied = OPERATIONS[name](picture, strength)
        assert (varied.size, varied.mode) == (picture.size, picture.mode)
        # Grey images have no colour to enhance.
        unchanged = np.array_equal(np.asarray(varied), np.asarray(picture))
        assert unchanged == (name == "color" and channels == 1)


def test_signs_are_opposite_directions() -> None:
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:, 8] = 255
    moved = [np.asarray(OPERATIONS["translate-x"](Image.fromarray(pixels), s)) for s in (-0.5, 0.5)]
    columns = [int((image == 255).all(axis=0).argmax()) for image in moved]
    assert columns[0] - 8 == 8 - columns[1] > 0


@pytest.mark.parametrize("channels", [1, 3])
def test_the_generator_decides_and_nothing_else(channels: int) -> None:
    data = images(40, channels)
    kept = data.copy()
    first, second = (vary(data, 2, 9.0, generator()) for _ in range(2))
    assert first.dtype == np.uint8
    assert first.shape == data.shape
    assert np.array_equal(first, second)
    assert not np.array_equal(first, vary(data, 2, 9.0, generator(1)))
    assert np.array_equal(data, kept)
    changed = (first != data).any(axis=(1, 2, 3)).mean()
    assert changed > 0.8


def test_no_operations_give_the_images_themselves() -> None:
    data = images(3)
    assert vary(data, 0, 9.0, generator()) is data


@pytest.mark.parametrize(
    "events", [np.zeros((2, 2, 8, 8), np.uint8), np.zeros((2, 4, 2, 8, 8), np.uint8)]
)
def test_events_are_refused(events: NDArray[np.uint8]) -> None:
    with pytest.raises(BadInput, match=r"policy_operations is 1, but the data are uint8"):
        vary(events, 1, 9.0, generator())
