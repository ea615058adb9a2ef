"""Spikformer's published networks (architectures 1.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .configuration import Configuration

_CIFAR = "spikformer_cifar10"
_IMAGENET = "spikformer_imagenet"
_DVS = "spikformer_cifar10dvs"
_PAPER = "Spikformer, ICLR 2023"
_NOT_PUBLISHED = "not published"


def _cifar(dim: int, depth: int, heads: int, classes: int) -> dict[str, Any]:
    sizes = {"embed_dims": dim, "depths": depth, "num_heads": heads}
    return {**sizes, "num_classes": classes, "T": 4}


def _imagenet(dim: int, depth: int, heads: int) -> dict[str, Any]:
    sizes = {"embed_dims": dim, "depths": depth, "num_heads": heads}
    return {**sizes, "img_size_h": 224, "img_size_w": 224, "patch_size": 16, "num_classes": 1000}


_DVS_ARGUMENTS = {
    "img_size_h": 128,
    "img_size_w": 128,
    "patch_size": 16,
    "in_channels": 2,
    "num_classes": 10,
    "embed_dims": 256,
    "num_heads": 16,
    "depths": 2,
}

_TABLE = (
    ("Spikformer-4-384", _CIFAR, _cifar(384, 4, 12, 10), 9_330_874, 4, 32, 95.19, _PAPER),
    (
        "Spikformer-4-384-CIFAR100",
        _CIFAR,
        _cifar(384, 4, 12, 100),
        9_365_524,
        4,
        32,
        77.86,
        _PAPER,
    ),
    ("Spikformer-2-384", _CIFAR, _cifar(384, 2, 12, 10), 5_768_122, 4, 32, None, _NOT_PUBLISHED),
    ("Spikformer-4-256", _CIFAR, _cifar(256, 4, 8, 10), 4_159_274, 4, 32, None, _NOT_PUBLISHED),
    ("Spikformer-8-384", _IMAGENET, _imagenet(384, 8, 12), 16_828_312, 4, 224, 70.24, _PAPER),
    ("Spikformer-6-512", _IMAGENET, _imagenet(512, 6, 8), 23_385_640, 4, 224, 72.46, _PAPER),
    ("Spikformer-8-512", _IMAGENET, _imagenet(512, 8, 8), 29_705_768, 4, 224, 73.38, _PAPER),
    ("Spikformer-10-512", _IMAGENET, _imagenet(512, 10, 8), 36_025_896, 4, 224, 73.68, _PAPER),
    ("Spikformer-8-768", _IMAGENET, _imagenet(768, 8, 12), 66_363_208, 4, 224, 74.81, _PAPER),
    ("Spikformer-2-256-CIFAR10DVS", _DVS, _DVS_ARGUMENTS, 2_585_610, 16, 128, 80.9, _PAPER),
)

CONFIGURATIONS: Mapping[str, Configuration] = {row[0]: Configuration(*row) for row in _TABLE}
"""Published networks by name."""
