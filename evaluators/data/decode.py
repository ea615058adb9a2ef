"""One encoded image (JPEG, PNG, …) to an array of pixels."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...spaces.errors import BadInput, CorruptFile

MODES = {1: "L", 3: "RGB"}
"""Pillow's name of a pixel format by number of channels."""

# A closed list: some of Pillow's other readers start external programs.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_DEEP_MODES = ("I", "F")


def decode_image(data: bytes, channels: int, size: int | None, where: str) -> NDArray[np.uint8]:
    """Pixels of one encoded image, uint8 [channels, H, W].

    Args:
        data: the bytes of an image file; the first frame counts.
        channels: 3 (RGB) or 1 (grey); other colour formats are converted.
        size: the shorter side is resized to it (bicubic), then the center square is cut out;
            None leaves the image as it is.
        where: file and row, for messages.

    Raises:
        CorruptFile: the bytes cannot be decoded.
        BadInput: more than 8 bits per channel, which a conversion would clip.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        image.load()
    # Pillow's readers raise whatever their parser meets: OSError, SyntaxError, struct.error, …
    except Exception as error:
        raise CorruptFile(
            f"{where}: the image cannot be decoded ({error}); "
            f"allowed: {', '.join(_FORMATS)}. Write the file anew or leave this row out."
        ) from error
    if image.mode.startswith(_DEEP_MODES):
        raise BadInput(f"{where}: image mode {image.mode}; store 8 bits per channel.")
    image = image.convert(MODES[channels])
    if size is not None:
        image = _fit(image, size)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _fit(image: Image.Image, size: int) -> Image.Image:
    shorter = min(image.size)
    if shorter != size:
        width, height = (max(size, round(side * size / shorter)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))
