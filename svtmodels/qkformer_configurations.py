"""Published networks of QKFormer (architectures 5.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .configuration import Configuration

_CIFAR = "qkformer_cifar10"
_IMAGENET = "qkformer_imagenet"
_DVS = "qkformer_cifar10dvs"
_LOG = "QKFormer, training log"
_REPOSITORY = "QKFormer, README"
_PAPER = "QKFormer, NeurIPS 2024"


def _cifar(classes: int) -> dict[str, Any]:
    sizes = {"img_size_h": 32, "img_size_w": 32, "embed_dims": 384, "depths": 4, "num_heads": 8}
    return {**sizes, "in_channels": 3, "num_classes": classes, "T": 4}


def _imagenet(dim: int, heads: int, size: int = 224) -> dict[str, Any]:
    sizes = {"img_size_h": size, "img_size_w": size, "embed_dims": dim, "num_heads": heads}
    return {**sizes, "depths": 10, "in_channels": 3, "num_classes": 1000, "T": 4}


def _events(classes: int, mlp_ratio: int) -> dict[str, Any]:
    sizes = {"img_size_h": 128, "img_size_w": 128, "embed_dims": 256, "num_heads": 16}
    return {**sizes, "in_channels": 2, "num_classes": classes, "mlp_ratios": mlp_ratio}


_TABLE = (
    ("QKFormer-4-384", _CIFAR, _cifar(10), 6_706_234, 4, 32, 96.18, _PAPER),
    ("QKFormer-4-384-CIFAR100", _CIFAR, _cifar(100), 6_740_884, 4, 32, 81.15, _PAPER),
    ("QKFormer-2-256-CIFAR10DVS", _DVS, _events(10, 1), 1_504_138, 16, 128, 84.1, _LOG),
    ("QKFormer-2-256-Gesture", _DVS, _events(11, 4), 1_999_371, 16, 128, 98.6, _PAPER),
    ("HST-10-384", _IMAGENET, _imagenet(384, 6), 16_473_688, 4, 224, 78.80, _REPOSITORY),
    ("HST-10-512", _IMAGENET, _imagenet(512, 8), 29_079_336, 4, 224, 82.04, _REPOSITORY),
    ("HST-10-768", _IMAGENET, _imagenet(768, 12), 64_962_760, 4, 224, 84.22, _REPOSITORY),
    ("HST-10-768-288", _IMAGENET, _imagenet(768, 12, 288), 64_962_760, 4, 288, 85.25, _REPOSITORY),
    ("HST-10-768-384", _IMAGENET, _imagenet(768, 12, 384), 64_962_760, 4, 384, 85.65, _REPOSITORY),
)

CONFIGURATIONS: Mapping[str, Configuration] = {row[0]: Configuration(*row) for row in _TABLE}
"""Published networks by name."""
