"""Published networks of Spike-Driven Transformer v1 (architectures 2.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .configuration import Configuration

_SDT = "sdt_v1"
_REPOSITORY = "Spike-Driven-Transformer, README"
_PAPER = "Spike-driven Transformer, NeurIPS 2023"
_NOT_PUBLISHED = "not published"


def _images(dim: int, depth: int, classes: int, size: int, pooling: str) -> dict[str, Any]:
    sizes = {"img_size_h": size, "img_size_w": size, "embed_dims": dim, "depths": depth}
    return {**sizes, "in_channels": 3, "num_classes": classes, "pooling_stat": pooling, "T": 4}


def _imagenet(dim: int, depth: int) -> dict[str, Any]:
    return _images(dim, depth, 1000, 224, "1111")


def _cifar(dim: int, classes: int) -> dict[str, Any]:
    return _images(dim, 2, classes, 32, "0011")


def _events(size: int, classes: int, pooling: str, steps: int, **modes: bool) -> dict[str, Any]:
    images = _images(256, 2, classes, size, pooling)
    return {**images, "in_channels": 2, "T": steps, **modes}


_CIFAR10_DVS = _events(64, 10, "0011", 10, dvs_mode=True, TET=True)

_TABLE = (
    ("SDT-8-384", _SDT, _imagenet(384, 8), 16_816_536, 4, 224, 72.28, _REPOSITORY),
    ("SDT-6-512", _SDT, _imagenet(512, 6), 23_373_736, 4, 224, 74.11, _REPOSITORY),
    ("SDT-8-512", _SDT, _imagenet(512, 8), 29_689_896, 4, 224, 74.57, _REPOSITORY),
    ("SDT-10-512", _SDT, _imagenet(512, 10), 36_006_056, 4, 224, 74.66, _REPOSITORY),
    (
        "SDT-8-768",
        _SDT,
        _imagenet(768, 8),
        66_339_144,
        4,
        224,
        77.07,
        f"{_REPOSITORY}; at 288 x 288",
    ),
    ("SDT-2-256", _SDT, _cifar(256, 10), 2_567_082, 4, 32, None, _NOT_PUBLISHED),
    ("SDT-2-512", _SDT, _cifar(512, 10), 10_233_546, 4, 32, 95.6, _PAPER),
    ("SDT-2-256-CIFAR100", _SDT, _cifar(256, 100), 2_590_212, 4, 32, None, _NOT_PUBLISHED),
    ("SDT-2-512-CIFAR100", _SDT, _cifar(512, 100), 10_279_716, 4, 32, 78.4, _PAPER),
    ("SDT-2-256-CIFAR10DVS", _SDT, _CIFAR10_DVS, 2_566_794, 10, 64, 80.0, f"{_PAPER}, at T = 16"),
    ("SDT-2-256-Gesture", _SDT, _events(128, 11, "0111", 16), 2_567_051, 16, 128, 99.3, _PAPER),
)

CONFIGURATIONS: Mapping[str, Configuration] = {row[0]: Configuration(*row) for row in _TABLE}
"""Published networks by name."""
