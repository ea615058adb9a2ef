from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from spikefront.evaluators.data import ImageData, Preprocessing, load_digits
from spikefront.spaces import BadInput


def test_apply_scales_then_normalises_per_channel() -> None:
    pixels = np.array([[[[0, 255]], [[51, 102]]]], np.uint8)
    result = Preprocessing((0.5, 0.2), (0.25, 0.1)).apply(pixels)
    assert result.dtype == torch.float32
    expected = torch.tensor([[[[-2.0, 2.0]], [[0.0, 2.0]]]])
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


def test_apply_follows_the_formula_bit_for_bit_and_takes_read_only_images() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    pixels.flags.writeable = False
    result = Preprocessing.preset("digits").apply(pixels)
    x = torch.arange(256, dtype=torch.float32).reshape(1, 1, 16, 16)
    assert torch.equal(result, (x / 255 - torch.tensor(0.3092)) / torch.tensor(0.3488))


def test_round_trip_through_json() -> None:
    preset = Preprocessing.preset("cifar10")
    assert Preprocessing.from_dict(json.loads(json.dumps(preset.to_dict()))) == preset


def test_measure_agrees_with_numpy() -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (5, 3, 7, 7), dtype=np.uint8)
    data = ImageData(pixels, np.zeros(5, np.int64), ("a",), "x")
    measured = Preprocessing.measure(data)
    scaled = pixels / 255
    np.testing.assert_allclose(measured.mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(measured.std, scaled.std(axis=(0, 2, 3)), rtol=1e-12)


def test_digits_preset_is_what_is_measured() -> None:
    measured, preset = Preprocessing.measure(load_digits()), Preprocessing.preset("digits")
    assert preset.mean == (round(measured.mean[0], 4),)
    assert preset.std == (round(measured.std[0], 4),)


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(BadInput, match="Did you mean 'cifar10'"):
        Preprocessing.preset("cifar-10")


@pytest.mark.parametrize(
    "stored",
    [
        {"mean": [0.5]},
        {"mean": [0.5], "std": [0.2], "gamma": [1.0]},
        {"mean": [0.5], "std": ["0.2"]},
        {"mean": 0.5, "std": 0.2},
        {"mean": [0.5], "std": [0.0]},
        {"mean": [0.5], "std": [0.2, 0.2]},
        {"mean": [], "std": []},
    ],
)
def test_unusable_records_are_refused(stored: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="preprocessing"):
        Preprocessing.from_dict(stored)


def test_wrong_number_of_channels_is_refused() -> None:
    with pytest.raises(BadInput, match=r"\[N, 3, H, W\]"):
        Preprocessing.preset("imagenet").apply(np.zeros((2, 1, 8, 8), np.uint8))


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(BadInput, match="no images"):
        Preprocessing.measure(load_digits(8).take([]))
