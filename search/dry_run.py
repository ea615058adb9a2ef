"""What a search would do and cost, before anything is spent."""

from __future__ import annotations

import math
import resource
from typing import Any

from ..evaluators.assessment import seconds_per_image
from ..evaluators.data.settings import load_splits
from .search import Search

_MIB = 2**20
_RUN_MIB = 4
"""Folder of a finished run without large models: 3.4 MiB after the demo's 304 candidates."""


def dry_run(search: Search) -> tuple[str, dict[str, Any]]:
    """Text and record: axes, size of the space, bytes, memory, disk, hours.

    The hours are an upper bound: every candidate as dear as the trained network, none rejected.
    """
    plan, config = search.plan(), search.config
    network, space = plan.model.network, plan.space
    price = plan.model.pricer(plan.settings.surgery)
    smallest, full = space.decode([0] * len(space.axes)), space.decode(space.full)
    low, high = (round(price(candidate)["bytes"]) for candidate in (smallest, full))
    data = {k: v for k, v in config.data.items() if k != "preprocessing"}
    splits = load_splits(data, with_train=False)
    if config.paper_split:
        splits = splits.on_test()
    images = len(splits.search) + min(config.evaluation.gate_images, len(splits.calibration))
    workers = 1 if config.cluster.backend == "in-process" else config.cluster.worker_count
    seconds = seconds_per_image(network, config.evaluation.batch_size)
    hours = seconds * images * config.budget.candidates / workers / 3600
    pixels = sum(split.images.nbytes for split in splits.named().values())
    record = {
        "axes": {axis.name: list(axis.levels) for axis in space.axes},
        "space_size": space.size,
        "bytes_range": [low, high],
        "bytes_parent": plan.model.bytes,
        "candidates": config.budget.candidates,
        "workers": workers,
        "memory_mib": round(workers * _peak_mib() + pixels / _MIB),
        "disk_mib": round(_RUN_MIB + 20 * high / _MIB),
        "hours_at_most": hours,
    }
    return _text(record), record


def _peak_mib() -> float:
    """Most memory that this process has held: libraries, the network, and the timed batches.

    A worker holds the same. Linux counts it in KiB.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _text(record: dict[str, Any]) -> str:
    low, high = record["bytes_range"]
    parent = record["bytes_parent"]
    workers = f"{record['workers']} worker{'s' if record['workers'] > 1 else ''}"
    axes = [
        f"  {name:<36}{', '.join(f'{level:g}' for level in levels)}"
        for name, levels in record["axes"].items()
    ]
    return "\n".join(
        [
            f"{len(axes)} axes, {float(record['space_size']):.3g} points:",
            *axes,
            f"bytes      {low:,} to {high:,} ({low / parent:.1%} to {high / parent:.1%})",
            f"budget     {record['candidates']} candidates on {workers}",
            f"memory     about {record['memory_mib']} MiB",
            f"disk       about {record['disk_mib']} MiB",
            f"time       at most {_duration(record['hours_at_most'])} (nothing rejected)",
        ]
    )


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{math.ceil(60 * hours)} min"
