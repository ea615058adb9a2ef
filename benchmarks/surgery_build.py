"""How long it takes to build a candidate of Spikformer-4-384, cold and warm."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch

from spikefront.spaces import SurgeryOptions
from spikefront.svtmodels import build_official, compress
from spikefront.svtmodels.network import Network
from spikefront.svtmodels.parts.synapse import ChannelNorm
from spikefront.svtmodels.surgery.moments import collect_moments
from spikefront.svtmodels.surgery.prepared import PreparedSurgery

from .surgery_bench import choice

CHOICES: Mapping[str, Mapping[str, float]] = {
    "half of the channels": {"channel": 0.5},
    "4 bits": {"weight": 4},
    "three quarters of the channels, half of the tokens, 3 bits": {
        "channel": 0.75,
        "token": 0.5,
        "weight": 3,
    },
}
_IMAGES = 4
_REPEATS = 7


def measure_builds() -> list[dict[str, Any]]:
    """Rows of CPU seconds. Weights are random; batch norms make the neurons fire."""
    network = _network()
    images = torch.rand(_IMAGES, *network.input_shape, generator=torch.Generator().manual_seed(0))
    moments = collect_moments(network, [images], _IMAGES)
    surgery = PreparedSurgery(network, SurgeryOptions(), moments)
    rows: list[dict[str, Any]] = []
    for name, levels in CHOICES.items():
        candidate = choice(network, levels)
        times = []
        for _ in range(_REPEATS + 1):
            started = time.process_time()
            compress(network, candidate, surgery)
            times.append(time.process_time() - started)
        rows.append(
            {
                "part": "build",
                "network": "Spikformer-4-384",
                "choice": name,
                "build_cold_seconds": times[0],
                "build_warm_seconds": statistics.median(times[1:]),
            }
        )
    return rows


def _network() -> Network:
    torch.manual_seed(0)
    arguments = {"embed_dims": 384, "num_heads": 12, "depths": 4, "T": 4}
    network = build_official("spikformer_cifar10", arguments)
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, ChannelNorm):
            module.bias.data.uniform_(0.2, 1.4, generator=generator)
    return network.eval()
