"""How Spike-Driven Transformer v2 and v3 are told by their keys and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .recognition import Family, Shapes, Told, ratio
from .sdt_v2 import ARCHITECTURE as SDT_V2
from .sdt_v3 import ARCHITECTURE as SDT_V3
from .sdt_v3_large import ARCHITECTURE as SDT_V3_LARGE

_FIRST = "downsample1_1.encode_conv.weight"
_BLOCK = "block3.0"
_TELLING = {
    f"{_BLOCK}.attn.q_conv.0.body.0.weight": SDT_V2,
    f"{_BLOCK}.conv.pwconv1.0.weight": SDT_V3,
    f"{_BLOCK}.layer_scale1": SDT_V3_LARGE,
}
_SIZE = 224
_UNKNOWN: Mapping[str, Mapping[str, Sequence[Any]]] = {
    SDT_V2: {"num_heads": (8,), "T": (1, 4)},
    SDT_V3: {"num_heads": (8,)},
    # The neurons' levels are called 1x4 and 1x8 in the names of the published weights.
    SDT_V3_LARGE: {"num_heads": (8,), "levels": (4, 8)},
}


def _find(shapes: Shapes) -> str | None:
    if _FIRST not in shapes:
        return None
    return next((name for key, name in _TELLING.items() if key in shapes), None)


def _read(shapes: Shapes, architecture: str, known: Mapping[str, Any]) -> Told:
    last = "3" if architecture == SDT_V3_LARGE else "4"
    levels = [f"downsample{n}.encode_conv.weight" for n in ("1_2", "2", "3", "4") if n <= last]
    first, head, *widths = shapes.weights(architecture, _FIRST, "head.weight", *levels)
    dims = [width[0] for width in widths]
    dim = dims[2]
    arguments: dict[str, Any] = {
        "img_size_h": _SIZE,
        "img_size_w": _SIZE,
        "in_channels": first[1],
        "num_classes": head[0],
        "embed_dim": dims,
        "mlp_ratios": ratio(shapes.rows(f"{_BLOCK}.mlp.fc1_conv.weight", 4 * dim), dim),
    }
    if architecture != SDT_V3:
        arguments["kd"] = "head_kd.weight" in shapes
    if architecture == SDT_V3_LARGE:
        arguments |= _large(shapes, dim, head[0])
    return Told(arguments, _UNKNOWN[architecture])


def _large(shapes: Shapes, dim: int, classes: int) -> dict[str, Any]:
    values = shapes.rows(f"{_BLOCK}.attn.v_conv.0.conv2.0.weight", dim)
    has_rep = f"{_BLOCK}.rep_conv.conv1.0.weight" in shapes
    return {
        "nb_classes": classes,
        "depths": shapes.count("block3"),
        "choice": "base" if has_rep else "large",
        "sr_ratios": ratio(values, dim),
    }


FAMILY = Family((SDT_V2, SDT_V3, SDT_V3_LARGE), _find, _read)
"""Spike-Driven Transformer v2 and v3."""
