"""From stored pixels to what a network is fed: scaled to 0..1, then normalised per channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...spaces.errors import BadInput, unknown_name
from .dataset import ImageData


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """``(x / 255 - mean) / std`` per channel; both are in units of 0..1.

    Raises:
        BadInput: unlike or zero lengths, or a std that is not positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise BadInput(f"preprocessing: mean {self.mean} and std {self.std}; give one each.")
        if not all(value > 0 for value in self.std):
            raise BadInput(f"preprocessing: std {self.std}; every one must be above 0.")

    @classmethod
    def preset(cls, name: str) -> Preprocessing:
        """One of `PRESETS` by name; BadInput if there is none."""
        if name not in PRESETS:
            raise unknown_name("preprocessing", name, PRESETS)
        return PRESETS[name]

    @classmethod
    def measure(cls, data: ImageData) -> Preprocessing:
        """Mean and standard deviation of every channel over all pixels.

        Raises:
            BadInput: no images, or a channel that is constant.
        """
        if not len(data):
            raise BadInput(f"{data.name}: no images to measure mean and std on.")
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
            BadInput: other keys than mean and std, or something else than lists of numbers.
        """
        if set(data) != {"mean", "std"}:
            raise BadInput(f"preprocessing: got keys {sorted(data)}; give mean and std.")
        return cls(_numbers("mean", data["mean"]), _numbers("std", data["std"]))

    def to_dict(self) -> dict[str, list[float]]:
        """JSON-ready form; `from_dict` gives an equal one back."""
        return {"mean": list(self.mean), "std": list(self.std)}

    def apply(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """Network input: float32 [N, C, H, W] from uint8 of the same shape.

        Raises:
            BadInput: other shapes, or another number of channels than mean and std have.
        """
        if images.ndim != 4 or images.shape[1] != len(self.mean):
            wanted = f"[N, {len(self.mean)}, H, W]"
            raise BadInput(f"preprocessing: got images of shape {images.shape}; give {wanted}.")
        pixels = torch.from_numpy(images.astype(np.float32))
        mean = torch.tensor(self.mean).view(-1, 1, 1)
        std = torch.tensor(self.std).view(-1, 1, 1)
        return pixels.div_(255).sub_(mean).div_(std)


PRESETS: Mapping[str, Preprocessing] = {
    "cifar10": Preprocessing((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "imagenet": Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # `Preprocessing.measure(load_digits())`, rounded.
    "digits": Preprocessing((0.3092,), (0.3488,)),
}
"""Normalisations that published networks were trained with, and the one of our digits."""


def _numbers(name: str, values: Sequence[float]) -> tuple[float, ...]:
    is_list = isinstance(values, list | tuple)
    if not is_list or not all(type(value) in (int, float) for value in values):
        raise BadInput(f"preprocessing: {name} is {values!r}; give a list of numbers.")
    return tuple(float(value) for value in values)
