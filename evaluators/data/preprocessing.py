"""From stored pixels to what a network is fed: scaled to 0..1, then normalised per channel.

Counts of events are fed as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...spaces.errors import BadInput, unknown_name
from .dataset import ImageData, Pixels

_LARGEST_PIXEL = 255.0


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """``(x / scale - mean) / std`` per channel; mean and std are in units of 0..1.

    Attributes:
        mean: one number per channel.
        std: the same; each above 0.
        scale: stored value that stands for 1: 255 for images, 1 for counts of events.

    Raises:
        BadInput: unlike or zero lengths, or a std or scale that is not positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = _LARGEST_PIXEL

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise BadInput(f"preprocessing: mean {self.mean} and std {self.std}; give one each.")
        if not all(value > 0 for value in self.std):
            raise BadInput(f"preprocessing: std {self.std}; every one must be above 0.")
        if not 0 < self.scale < math.inf:
            raise BadInput(f"preprocessing: scale {self.scale}; it must be above 0.")

    @classmethod
    def preset(cls, name: str) -> Preprocessing:
        """One of `PRESETS` by name; BadInput if there is none."""
        if name not in PRESETS:
            raise unknown_name("preprocessing", name, PRESETS)
        return PRESETS[name]

    @classmethod
    def measure(cls, data: ImageData) -> Preprocessing:
        """Mean and standard deviation of every channel over all pixels; events stay counts.

        Raises:
            BadInput: no images, or a channel that is constant.
        """
        if not len(data):
            raise BadInput(f"{data.name}: no images to measure mean and std on.")
        if data.of_events:
            return PRESETS["events"]
        # Integer counts of the 256 values: exact, whatever the order of the images.
        counts = np.zeros((data.images.shape[1], 256), np.int64)
        for image in data.images:
            counts += [np.bincount(channel.ravel(), minlength=256) for channel in image]
        share = counts / counts.sum(axis=1, keepdims=True)
        levels = np.arange(256) / 255
        mean = share @ levels
        std = np.sqrt((share * (levels - mean[:, None]) ** 2).sum(axis=1))
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preprocessing:
        """Preprocessing from `to_dict`.

        Raises:
            BadInput: other keys than mean, std and scale, or something else than (lists of)
                numbers; scale may be left out, which stands for 255.
        """
        if set(data) - {"scale"} != {"mean", "std"}:
            raise BadInput(f"preprocessing: got keys {sorted(data)}; give mean and std.")
        (scale,) = _numbers("scale", [data.get("scale", _LARGEST_PIXEL)])
        return cls(_numbers("mean", data["mean"]), _numbers("std", data["std"]), scale)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; `from_dict` gives an equal one back. A scale of 255 goes unsaid."""
        stored: dict[str, Any] = {"mean": list(self.mean), "std": list(self.std)}
        return stored if self.scale == _LARGEST_PIXEL else {**stored, "scale": self.scale}

    def apply(self, images: Pixels) -> torch.Tensor:
        """Network input: float32 of the shape of the images, [N, C, H, W] or [N, T, 2, H, W].

        Raises:
            BadInput: other shapes, or another number of channels than mean and std have.
        """
        if images.ndim not in (4, 5) or images.shape[-3] != len(self.mean):
            wanted = f"[N, {len(self.mean)}, H, W]"
            raise BadInput(f"preprocessing: got images of shape {images.shape}; give {wanted}.")
        pixels = torch.from_numpy(images.astype(np.float32))
        mean = torch.tensor(self.mean).view(-1, 1, 1)
        std = torch.tensor(self.std).view(-1, 1, 1)
        return pixels.div_(self.scale).sub_(mean).div_(std)


PRESETS: Mapping[str, Preprocessing] = {
    "cifar10": Preprocessing((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "imagenet": Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # `Preprocessing.measure(load_digits())`, rounded.
    "digits": Preprocessing((0.3092,), (0.3488,)),
    "events": Preprocessing((0.0, 0.0), (1.0, 1.0), scale=1.0),
}
"""Normalisations that published networks were trained with, the one of our digits, and none."""


def _numbers(name: str, values: Sequence[float]) -> tuple[float, ...]:
    is_list = isinstance(values, list | tuple)
    if not is_list or not all(type(value) in (int, float) for value in values):
        raise BadInput(f"preprocessing: {name} is {values!r}; give a list of numbers.")
    return tuple(float(value) for value in values)
