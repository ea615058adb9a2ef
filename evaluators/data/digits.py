"""The handwritten digits that come with scikit-learn: real images without any download."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ...spaces.errors import BadInput
from .dataset import ImageData

_BRIGHTEST = 16
"""The stored images are 8x8 with values 0..16."""


def load_digits(size: int = 32) -> ImageData:
    """All 1,797 digits, scaled to 0..255 and resized by Pillow's bicubic filter.

    Pillow resizes uint8 images in integer arithmetic, so the pixels are the same everywhere.

    Args:
        size: height and width in pixels.

    Returns:
        uint8 images [1797, 1, size, size], classes "0".."9".
    """
    if size < 1:
        raise BadInput(f"digits: size {size}; give at least 1 pixel.")
    # Imported here: it takes a second, and only this data set needs it.
    from sklearn.datasets import load_digits as load_embedded

    pixels, targets = load_embedded(return_X_y=True)
    small = np.rint(np.asarray(pixels) * (255 / _BRIGHTEST)).astype(np.uint8).reshape(-1, 8, 8)
    images = np.stack([_resize(image, size) for image in small])[:, None]
    labels = np.asarray(targets, dtype=np.int64)
    return ImageData(images, labels, tuple(str(digit) for digit in range(10)), "digits")


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
