"""How QKFormer is told by its keys and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .declaration import Source
from .qkformer_plan import VARIANTS
from .recognition import Family, Shapes, Told, ratio

_HEAD_WIDTH = 64
_SIZES = {"qkformer_cifar10": 32, "qkformer_imagenet": 224, "qkformer_cifar10dvs": 128}


def _find(shapes: Shapes) -> str | None:
    if "patch_embed1.proj_res_conv.weight" not in shapes:
        return None
    if "patch_embed3.proj_res_conv.weight" not in shapes:
        return "qkformer_cifar10dvs"
    imagenet = "stage1.0.mlp.fc1_conv.weight" in shapes
    return "qkformer_imagenet" if imagenet else "qkformer_cifar10"


def _read(shapes: Shapes, architecture: str, known: Mapping[str, Any]) -> Told:
    variant, size = VARIANTS[architecture], _SIZES[architecture]
    first, head = shapes.weights(architecture, "patch_embed1.proj_conv.weight", "head.weight")
    hidden = f"stage1.0.mlp.{variant.mlp[0]}_conv.weight"
    dim = head[1]
    width = max(dim // 2 ** len(variant.token_blocks), 1)
    arguments = {
        "img_size_h": size,
        "img_size_w": size,
        "in_channels": first[1],
        "num_classes": head[0],
        "embed_dims": dim,
        "mlp_ratios": ratio(shapes.rows(hidden, 4 * width), width),
    }
    if variant.last_blocks is None:
        last = len(variant.embeddings)
        arguments["depths"] = shapes.count(f"stage{last}") + sum(variant.token_blocks)
    unknown: dict[str, tuple[int, ...]] = {}
    if variant.heads is None:
        unknown["num_heads"] = (dim // _HEAD_WIDTH or 1,)
    if variant.source is Source.IMAGE:  # Event data brings its own number of steps.
        unknown["T"] = (variant.steps,)
    return Told(arguments, unknown)


FAMILY = Family(tuple(VARIANTS), _find, _read)
"""QKFormer."""
