"""Accuracy of any stored model: a checkpoint, a network of the zoo, or a packed folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from ..spaces.errors import BadInput, unknown_name
from ..svtmodels.network import Network
from .accuracy import BATCH_SIZE, correct
from .data.settings import load_splits
from .engines import PLAIN
from .intervals import wilson_interval
from .preparation import preprocessing_of
from .runner import Runner

SPLITS = ("test", "search", "calibration")


def assess(
    network: Network, data: Mapping[str, Any] | None, split: str, batch_size: int = BATCH_SIZE
) -> dict[str, Any]:
    """Accuracy of a network with its 95 % interval, and images per second.

    Args:
        network: in eval mode.
        data: settings of the data; None: those that the network was trained or packed with.
        split: one of `SPLITS`.
        batch_size: images per pass.

    Raises:
        BadInput: unknown split, or no data is known.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    settings = dict(data if data is not None else network.card.get("data") or {})
    if not settings:
        raise BadInput("the model does not name its data: give --data (a YAML file).")
    preprocessing = preprocessing_of(network, settings.pop("preprocessing", None))
    images = load_splits(settings, with_train=False).named()[split]
    if not len(images):
        raise BadInput(f"these data settings give no {split} images.")
    started = time.perf_counter()
    # The plain modules: what the published and the recorded accuracies were measured with.
    runner = Runner(network, PLAIN)
    right = int(correct(runner, images, preprocessing, batch_size).sum())
    seconds = time.perf_counter() - started
    low, high = wilson_interval(right, len(images))
    return {
        "split": split,
        "accuracy": right / len(images),
        "interval": [low, high],
        "n": len(images),
        "images_per_second": len(images) / seconds,
    }


@torch.inference_mode()
def seconds_per_image(network: Network, batch_size: int = BATCH_SIZE) -> float:
    """Measured time of one forward pass on random images, the better of two."""
    images = torch.rand(batch_size, *network.input_shape)
    times = []
    for _ in range(2):
        started = time.perf_counter()
        network(images)
        times.append(time.perf_counter() - started)
    return min(times) / batch_size
