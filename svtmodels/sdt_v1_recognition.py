"""How Spike-Driven Transformer v1 is told by its keys and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .recognition import Family, Shapes, Told, ratio
from .sdt_v1 import ARCHITECTURE, POLARITIES

_HEADS = "block.0.attn.talking_heads.weight"
_SIZES = {"1111": 224, "0111": 128}
_IMAGENET_CLASSES = 1000


def _find(shapes: Shapes) -> str | None:
    return ARCHITECTURE if _HEADS in shapes else None


def _read(shapes: Shapes, architecture: str, known: Mapping[str, Any]) -> Told:
    wanted = ("patch_embed.proj_conv.weight", "patch_embed.proj_conv3.weight", "head.weight")
    first, last, head = shapes.weights(architecture, *wanted)
    channels, classes, dim = first[1], head[0], last[0]
    size = _SIZES.get(known.get("pooling_stat", ""), 64 if channels == POLARITIES else 32)
    arguments = {
        "img_size_h": size,
        "img_size_w": size,
        "in_channels": channels,
        "num_classes": classes,
        "embed_dims": dim,
        "num_heads": shapes.rows(_HEADS, 8),
        "mlp_ratios": ratio(shapes.rows("block.0.mlp.fc1_conv.weight", 4 * dim), dim),
        "depths": shapes.count("block"),
        "spike_mode": "plif" if "head_lif.w" in shapes else "lif",
    }
    return Told(arguments, _unknown(channels, classes))


def _unknown(channels: int, classes: int) -> dict[str, Sequence[Any]]:
    if channels == POLARITIES:
        # CIFAR10-DVS: "0011" with dvs_mode; Gesture: "0111" without.
        return {"pooling_stat": ("0011", "0111"), "dvs_mode": (True, False), "T": (10, 16)}
    pooling = "1111" if classes == _IMAGENET_CLASSES else "0011"
    return {"pooling_stat": (pooling,), "T": (4,)}


FAMILY = Family((ARCHITECTURE,), _find, _read)
"""Spike-Driven Transformer v1."""
