"""How often a network is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .data.dataset import ImageData
from .data.preprocessing import Preprocessing

Classifier = Callable[[Tensor], Tensor]
"""Gives logits [B, K] of inputs [B, ...]: a network on the CPU, or a `Runner`."""

BATCH_SIZE = 100
"""Images per forward pass where a setting does not say otherwise."""


@torch.inference_mode()
def correct(
    classify: Classifier,
    data: ImageData,
    preprocessing: Preprocessing,
    batch_size: int = BATCH_SIZE,
) -> Tensor:
    """Whether each image is classified correctly: bool [N]."""
    parts = [
        classify(images).argmax(1) == labels
        for images, labels in batches(data, preprocessing, batch_size)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.bool)


def accuracy(
    classify: Classifier,
    data: ImageData,
    preprocessing: Preprocessing,
    batch_size: int = BATCH_SIZE,
) -> float:
    """Share of images that are classified correctly; 0 without images."""
    if not len(data):
        return 0.0
    return float(correct(classify, data, preprocessing, batch_size).double().mean())


def batches(
    data: ImageData, preprocessing: Preprocessing, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Network inputs and labels, in order."""
    for start in range(0, len(data), batch_size):
        rows = slice(start, start + batch_size)
        labels = torch.from_numpy(data.labels[rows].copy())
        yield preprocessing.apply(data.images[rows]), labels
