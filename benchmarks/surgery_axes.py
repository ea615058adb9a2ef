"""What every axis saves: bytes, MACs, SynOps and measured time, before and after."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import torch

from spikefront.search.cli.table import table
from spikefront.spaces import BadInput, SurgeryOptions
from spikefront.svtmodels.costs import static_costs

from .pairing import seconds, time_pairs
from .surgery_bench import SurgeryBench, choice

AXES: Mapping[str, Mapping[str, float]] = {
    "half of the channels": {"channel": 0.5},
    "half of the residual width": {"residual": 0.5},
    "half of the tokens": {"token": 0.5},
    "one time step": {"time": 1},
    "4 bits": {"weight": 4},
    "1 bit": {"weight": 1},
    "30 % of the weights": {"density": 0.3},
    "8-bit membranes": {"state": 8},
    "channels, tokens, 3 bits": {"channel": 0.5, "token": 0.5, "weight": 3},
}
"""Levels by kind of site, the same at all sites."""

_PAIRS = 9
_HEADER = ("network", "choice", "bytes", "membranes", "MACs", "SynOps", "time", "accuracy")


def measure_axes(bench: SurgeryBench) -> list[dict[str, Any]]:
    """One row per axis, with the default options; ratios are candidate over trained network."""
    builder = bench.builder(SurgeryOptions())
    trained = choice(bench.network, {})
    parent, whole = static_costs(bench.network, trained), bench.synops(bench.network)
    rows: list[dict[str, Any]] = []
    for name, levels in AXES.items():
        candidate = choice(bench.network, levels)
        if candidate == trained:
            continue  # A network without such a site.
        cold = seconds(lambda candidate=candidate: builder.build(candidate))
        small, costs = builder.build(candidate), builder.costs(candidate)
        warm = [seconds(lambda c=candidate: builder.build(c)) for _ in range(5)]
        with torch.inference_mode():
            timed = time_pairs(
                lambda: bench.network(bench.inputs), lambda s=small: s(bench.inputs), _PAIRS
            )
        rows.append(
            {
                "part": "axes",
                "network": bench.name,
                "choice": name,
                "bytes_ratio": costs.bytes / parent.bytes,
                "state_bytes_ratio": costs.state_bytes / max(parent.state_bytes, 1),
                "macs_ratio": costs.macs / parent.macs,
                "synops_ratio": bench.synops(small) / whole,
                "time_ratio": timed.ratio,
                "time_ratio_quartiles": list(timed.ratio_quartiles),
                "build_cold_seconds": cold,
                "build_warm_seconds": statistics.median(warm),
                "accuracy": bench.accuracy(small),
                "trained": bench.trained,
                "images": len(bench.judged),
            }
        )
    return rows


def show_axes(rows: list[dict[str, Any]]) -> str:
    """Table of these rows."""
    ratios = ("bytes_ratio", "state_bytes_ratio", "macs_ratio", "synops_ratio", "time_ratio")
    cells = [
        (
            row["network"],
            row["choice"],
            *(f"{row[name]:.2f}" for name in ratios),
            f"{row['accuracy']:.1%} of {row['trained']:.1%}",
        )
        for row in rows
    ]
    return table(_HEADER, cells)


def benches(names: list[str], images: int) -> list[SurgeryBench]:
    """Networks whose data are there; says which are left out."""
    found = []
    for name in names:
        try:
            found.append(SurgeryBench(name, images))
        except BadInput as error:
            print(f"{name} is left out: {error}")
    return found
