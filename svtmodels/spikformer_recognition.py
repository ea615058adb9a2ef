"""How Spikformer is told by its keys and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .recognition import Family, Shapes, Told, ratio
from .spikformer_layers import VARIANTS

_LIKELY_HEADS = (4, 8, 12, 16)
_SIZES = {"spikformer_cifar10": 32, "spikformer_imagenet": 224, "spikformer_cifar10dvs": 128}


def _find(shapes: Shapes) -> str | None:
    if "patch_embed.rpe_conv.weight" not in shapes:
        return None
    if "block.0.attn.q_linear.weight" in shapes:
        return "spikformer_cifar10"
    if "pos_embed" in shapes:
        return "spikformer_cifar10dvs"
    return "spikformer_imagenet" if "block.0.norm1.weight" in shapes else None


def _read(shapes: Shapes, architecture: str, known: Mapping[str, Any]) -> Told:
    hidden = f"block.0.mlp.fc1_{VARIANTS[architecture].suffix}.weight"
    wanted = ("patch_embed.proj_conv.weight", "patch_embed.proj_conv3.weight", "head.weight")
    first, last, head = shapes.weights(architecture, *wanted)
    dim, size = last[0], _SIZES[architecture]
    arguments = {
        "img_size_h": size,
        "img_size_w": size,
        "in_channels": first[1],
        "num_classes": head[0],
        "embed_dims": dim,
        "mlp_ratios": ratio(shapes.rows(hidden, 4 * dim), dim),
        "depths": shapes.count("block"),
    }
    return Told(arguments, {"num_heads": [h for h in _LIKELY_HEADS if dim % h == 0]})


FAMILY = Family(tuple(VARIANTS), _find, _read)
"""Spikformer."""
