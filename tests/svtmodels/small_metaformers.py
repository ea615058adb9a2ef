"""Small Spike-Driven Transformers v2 and v3 that fire in every layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from network_checks import filled

from spikefront.svtmodels import Network

_SIZES: Mapping[str, Any] = {
    "img_size_h": 32,
    "img_size_w": 40,
    "num_classes": 7,
    "num_heads": 4,
    "mlp_ratios": 2,
}
_PYRAMID = {**_SIZES, "embed_dim": [8, 16, 16, 24]}
_LARGE = {**_SIZES, "nb_classes": 7, "embed_dim": [8, 16, 16], "depths": 2}

NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "v2": ("sdt_v2", {**_PYRAMID, "T": 3}),
    "v2 distilled": ("sdt_v2", {**_PYRAMID, "T": 1, "kd": True}),
    "v3": ("sdt_v3", _PYRAMID),
    "v3 large": ("sdt_v3_large", {**_LARGE, "kd": False, "choice": "large", "levels": 8}),
    "v3 large base": ("sdt_v3_large", {**_LARGE, "kd": True, "choice": "base", "sr_ratios": 2}),
}
"""Architecture and arguments."""
_BIAS: Mapping[str, tuple[float, float]] = {
    "v2": (0.6, 2.0),
    "v2 distilled": (0.6, 2.0),
    "v3": (0.2, 2.0),
    "v3 large": (0.2, 6.0),
    "v3 large base": (0.2, 2.0),
}
"""Mean biases of all batch norms, and of those behind queries, keys and values. Integer neurons
saturate where currents pile up, and fire little behind the product of small fractions."""


def make(name: str, dtype: torch.dtype = torch.float32, **changed: Any) -> Network:
    """One of `NETWORKS`, in eval mode."""
    architecture, arguments = NETWORKS[name]
    bias, attention = _BIAS[name]
    overrides = [[r"attn\.[qkv]_conv\.1\.", {"bn_b": [attention, 1.0]}]]
    return filled(
        architecture, {**arguments, **changed}, dtype, bn_b=[bias, 0.5], overrides=overrides
    )
