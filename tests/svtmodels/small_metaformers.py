"""Small Spike-Driven Transformers v2 and v3 that fire: weights by the rule of the golden folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from golden_rule import FIXTURES, Golden, make_state
from torch import Tensor

from spikefront.svtmodels import Network, build_official

_SIZES: Mapping[str, Any] = {
    "img_size_h": 32,
    "img_size_w": 48,
    "num_classes": 7,
    "num_heads": 4,
    "mlp_ratios": 2,
}
_PYRAMID = {**_SIZES, "embed_dim": [8, 16, 16, 24]}
_LARGE = {**_SIZES, "nb_classes": 7, "embed_dim": [8, 16, 16], "depths": 2}

NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "sdt_v2": ("sdt_v2", {**_PYRAMID, "T": 3}),
    "sdt_v2_kd": ("sdt_v2", {**_PYRAMID, "T": 2, "kd": True}),
    "sdt_v3": ("sdt_v3", _PYRAMID),
    "sdt_v3_large": ("sdt_v3_large", {**_LARGE, "kd": False, "choice": "large", "levels": 8}),
    "sdt_v3_large_base": ("sdt_v3_large", {**_LARGE, "choice": "base"}),
}
"""Architecture and arguments, by the golden folder whose rule makes the weights."""


def small(name: str, dtype: torch.dtype = torch.float32, **changed: Any) -> Network:
    """One of `NETWORKS`, in eval mode."""
    architecture, arguments = NETWORKS[name]
    network = build_official(architecture, {**arguments, **changed})
    config = Golden(FIXTURES / name).config
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    state = make_state(shapes, config["weight_rule"], config["weight_rule_defaults"])
    network.load_state_dict(state, strict=True)
    return network.eval().to(dtype)


def images(network: Network, count: int = 2, seed: int = 0) -> Tensor:
    """Random images [B, C, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    dtype = next(network.parameters()).dtype
    return torch.randn(count, *network.input_shape, generator=generator).to(dtype)
