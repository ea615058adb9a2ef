from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits as load_embedded

from spikefront.evaluators.data import load_digits
from spikefront.spaces import BadInput


def test_digits_have_the_promised_shape_and_content() -> None:
    data = load_digits()
    assert data.images.shape == (1797, 1, 32, 32)
    assert data.classes == tuple("0123456789")
    assert np.bincount(data.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # Checkpoints carry digests of these pixels: they must never change.
    assert data.digest == "f7ac830c3db5c0bcf801fbe5429443246ebbe8699ff09963a463c7a12c2a5bb4"


def test_stored_size_keeps_the_values_scaled_to_255() -> None:
    data = load_digits(8)
    pixels, _ = load_embedded(return_X_y=True)
    expected = np.asarray(pixels).reshape(-1, 1, 8, 8) * 255 / 16
    assert np.abs(data.images - expected).max() <= 0.5
    assert data.images.max() == 255


def test_size_below_one_is_refused() -> None:
    with pytest.raises(BadInput, match="size 0"):
        load_digits(0)
