"""One encoded image (JPEG, PNG, …) to an array of pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...spaces.errors import BadInput, CorruptFile
from .crop import RandomCrop

MODES = {1: "L", 3: "RGB"}
"""Pillow's name of a pixel format by number of channels."""

# A closed list: some of Pillow's other readers start external programs.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_DEEP_MODES = ("I", "F")


@dataclass(frozen=True, slots=True)
class Decoding:
    """What an encoded image is made into.

    Attributes:
        channels: 3 (RGB) or 1 (grey); other colour formats are converted.
        size: height and width of the center square that is cut out; None leaves images whole.
        resize: length that the shorter side is given before (bicubic); None means `size`.

    Raises:
        BadInput: other channels, a size below 1, or a `resize` below `size` or without it.
    """

    channels: int = 3
    size: int | None = None
    resize: int | None = None

    def __post_init__(self) -> None:
        if self.channels not in MODES or (self.size is not None and self.size < 1):
            got = f"channels {self.channels}, size {self.size}"
            raise BadInput(f"{got}; allowed: 1 or 3, size above 0.")
        if self.resize is not None and (self.size is None or self.resize < self.size):
            got = f"resize {self.resize} with size {self.size}"
            raise BadInput(
                f"{got}: the square of length size is cut out of what resize leaves; give both, "
                "resize at least as large, e.g. resize 256 and size 224."
            )


def decode_image(
    data: bytes, decoding: Decoding, where: str, crop: RandomCrop | None = None
) -> NDArray[np.uint8]:
    """Pixels of one encoded image, uint8 [channels, H, W].

    Args:
        data: the bytes of an image file; the first frame counts.
        decoding: what it is made into.
        where: file and row, for messages.
        crop: the part of it that is resized to `decoding.size`, instead of the center.

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
    image = image.convert(MODES[decoding.channels])
    if decoding.size is not None:
        image = _fit(image, decoding.size, decoding.resize or decoding.size, crop)
    pixels = np.asarray(image)
    return pixels[None] if decoding.channels == 1 else pixels.transpose(2, 0, 1)


def _fit(image: Image.Image, size: int, resize: int, crop: RandomCrop | None) -> Image.Image:
    if crop is not None:
        box = crop.box(image.width, image.height)
        return image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    shorter = min(image.size)
    if shorter != resize:
        width, height = (max(resize, round(side * resize / shorter)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))
