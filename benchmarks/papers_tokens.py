"""Criteria for tokens at half of the tokens of every block, for `make bench-papers`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from spikefront.spaces import MAGNITUDE
from spikefront.svtmodels.token_schedules import retention

from .surgery_bench import SurgeryBench, choice

CRITERIA = ("energy", "information", "official", "random")
"""Ours, TP-Spikformer's as its paper tells it, as its code does it, and none."""

_SHARE = 0.5


def measure_tokens(network: str, images: int) -> list[dict[str, Any]]:
    """One row per criterion; nothing else is changed and nothing recovered.

    Args:
        network: of the zoo.
        images: search images to judge on, at most.
    """
    bench = SurgeryBench(network, images)
    candidate = choice(bench.network, {"token": _SHARE})
    return [
        {
            "part": "tokens",
            "network": network,
            "criterion": criterion,
            "share": _SHARE,
            "retention": retention(bench.network, candidate),
            "images": len(bench.judged),
            "trained": bench.trained,
            "accuracy": bench.accuracy(
                bench.builder(replace(MAGNITUDE, tokens=criterion)).build(candidate)
            ),
        }
        for criterion in CRITERIA
    ]
