"""Random operations on images before they are normalised (RandAugment, Cubuk et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps

from ...spaces.errors import BadInput
from ..data.dataset import Pixels

_FULL = 10.0
# Largest effects, as in the increasing policy of timm: 30 degrees, a shear of 0.3, 45 % of the
# image, 90 % of a colour property, 4 bits, a threshold of 256.
_DEGREES, _SHEAR, _SHIFT, _ENHANCEMENT, _BITS, _THRESHOLD = 30.0, 0.3, 0.45, 0.9, 4, 256
_GREY = 128

Operation = Callable[[Image.Image, float], Image.Image]


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    return lambda image, strength: kind(image).enhance(1 + strength * _ENHANCEMENT)


def _affine(matrix: Callable[[float, Image.Image], tuple[float, ...]]) -> Operation:
    def operation(image: Image.Image, strength: float) -> Image.Image:
        fill = _GREY if image.mode == "L" else (_GREY,) * 3
        method = Image.Transform.AFFINE
        return image.transform(image.size, method, matrix(strength, image), fillcolor=fill)

    return operation


def _rotate(image: Image.Image, strength: float) -> Image.Image:
    fill = _GREY if image.mode == "L" else (_GREY,) * 3
    return image.rotate(strength * _DEGREES, fillcolor=fill)


OPERATIONS: Mapping[str, Operation] = {
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "posterize": lambda image, s: ImageOps.posterize(image, 8 - round(abs(s) * _BITS)),
    "solarize": lambda image, s: ImageOps.solarize(image, _THRESHOLD - round(abs(s) * _THRESHOLD)),
    "brightness": _enhance(ImageEnhance.Brightness),
    "color": _enhance(ImageEnhance.Color),
    "contrast": _enhance(ImageEnhance.Contrast),
    "sharpness": _enhance(ImageEnhance.Sharpness),
    "rotate": _rotate,
    "shear-x": _affine(lambda s, _: (1, s * _SHEAR, 0, 0, 1, 0)),
    "shear-y": _affine(lambda s, _: (1, 0, 0, s * _SHEAR, 1, 0)),
    "translate-x": _affine(lambda s, image: (1, 0, s * _SHIFT * image.width, 0, 1, 0)),
    "translate-y": _affine(lambda s, image: (1, 0, 0, 0, 1, s * _SHIFT * image.height)),
}
"""By name: from an image and a strength in -1..1 to an image of the same size."""


def vary(images: Pixels, count: int, magnitude: float, generator: torch.Generator) -> Pixels:
    """Each image after `count` operations drawn for it, of this magnitude and a random sign.

    Args:
        images: uint8 [B, C, H, W], C 1 or 3.
        count: operations per image; 0 gives the images as they are.
        magnitude: 0 to 10.
        generator: source of randomness.

    Raises:
        BadInput: these are no images, but events.
    """
    if not count:
        return images
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1] not in (1, 3):
        raise BadInput(
            f"recipe.policy_operations is {count}, but the data are {images.dtype} "
            f"{images.shape[1:]}: colours and shapes of images only; set it to 0."
        )
    kinds = list(OPERATIONS.values())
    drawn = torch.randint(len(kinds), (len(images), count), generator=generator).tolist()
    signs = (torch.randint(2, (len(images), count), generator=generator) * 2 - 1).tolist()
    varied = np.empty_like(images)
    for row, pixels in enumerate(images):
        grey = len(pixels) == 1
        image = Image.fromarray(
            pixels[0] if grey else np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
        )
        for kind, sign in zip(drawn[row], signs[row], strict=True):
            image = kinds[kind](image, sign * magnitude / _FULL)
        varied[row] = np.asarray(image) if grey else np.moveaxis(np.asarray(image), -1, 0)
    return varied
