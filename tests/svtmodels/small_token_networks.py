"""Small networks of all families that process fewer tokens, by any rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from network_checks import filled
from small_metaformers import make
from small_spikformers import small

from spikefront.spaces import MAGNITUDE
from spikefront.svtmodels import Network
from spikefront.svtmodels.surgery.prepared import PreparedSurgery

SDT_V1 = {
    "img_size_h": 16,
    "img_size_w": 16,
    "in_channels": 3,
    "num_classes": 7,
    "embed_dims": 32,
    "num_heads": 4,
    "mlp_ratios": 2,
    "depths": 3,
    "T": 3,
    "pooling_stat": "0011",
}
QKFORMER = {
    "img_size_h": 16,
    "img_size_w": 16,
    "in_channels": 3,
    "num_classes": 7,
    "embed_dims": 32,
    "mlp_ratios": 2,
    "depths": 4,
    "T": 3,
}


def token_network(name: str, dtype: torch.dtype = torch.float32) -> Network:
    """One of `NETWORKS`, in eval mode."""
    match name:
        case "spikformer":
            return small(dtype=dtype, depths=3)
        case "sdt_v1":
            return filled("sdt_v1", SDT_V1, dtype)
        case "qkformer":
            return filled("qkformer_cifar10", QKFORMER, dtype)
        case _:
            return make(name, dtype)


NETWORKS = ("spikformer", "sdt_v1", "qkformer", "v2", "v3", "v3 large")
FEWER: Mapping[str, Mapping[str, int]] = {
    "spikformer": {"block.0": 9, "block.2": 6},
    "sdt_v1": {"block.0": 9, "block.2": 6},
    "qkformer": {"stage1.0": 100, "stage2.0": 40, "stage3.0": 9},
    "v2": {"block3.1": 4, "block3.3": 2, "block4.0": 3},
    "v3": {"block3.1": 4, "block3.3": 2, "block4.0": 3},
    "v3 large": {"block3.0": 3},
}
each_network = pytest.mark.parametrize("name", NETWORKS)
each_mask = pytest.mark.parametrize("masks", ["image", "step"])
each_mode = pytest.mark.parametrize("mode", ["revisit", "stop"])


def prepared_with(network: Network, **options: str) -> PreparedSurgery:
    """Surgery by magnitude, with these options for tokens."""
    return PreparedSurgery(network, replace(MAGNITUDE, **options))
