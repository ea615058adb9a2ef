"""`make bench-networks`: images/s of the plain forward pass, against spikingjelly's model zoo.

Untrained networks on random images, in eval mode, one thread, both sides in one process in turn.
A network of spikingjelly is reset after every pass, as it must be; ours needs no reset.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Sequence
from typing import Any

import torch

from spikefront.search.cli.table import table

from .matching import CASES, Case, check_match, forward_other, spikes_by_layer
from .pairing import seconds, time_alone, time_pairs
from .record import write_record

_HEADER = ("network", "size", "parameters", "T", "pixels", "images/s", "spikingjelly", "faster")


@torch.inference_mode()
def measure(case: Case, pairs: int) -> dict[str, Any]:
    """One row: the network, images/s of both sides (medians), and how many times ours is faster.

    Raises:
        RunFailed: the two networks are not the same.
    """
    torch.manual_seed(0)
    ours, theirs = case.network(), case.other()
    images = torch.rand(case.batch, *ours.input_shape)
    row: dict[str, Any] = {
        "network": case.name,
        "size": case.size,
        "architecture": case.architecture,
        "arguments": dict(case.arguments),
        "parameters": sum(p.numel() for p in ours.parameters()),
        "T": ours.time_steps,
        "pixels": ours.input_shape[-1],
        "batch": case.batch,
        "runs": pairs,
    }
    if theirs is None:
        own = time_alone(lambda: ours(images), pairs)
        return {**row, "images_per_second": case.batch / statistics.median(own)}
    check_match(case, ours, theirs, images)
    timed = time_pairs(lambda: ours(images), lambda: forward_other(theirs, images), pairs)
    return {
        **row,
        "neuron_values": sum(spikes_by_layer(ours, images).values()),
        "spikingjelly_neuron_values": sum(spikes_by_layer(theirs, images).values()),
        "images_per_second": case.batch / statistics.median(timed.first),
        "spikingjelly_images_per_second": case.batch / statistics.median(timed.second),
        "times_faster": timed.ratio,
        "times_faster_quartiles": list(timed.ratio_quartiles),
    }


def summarise(rows: Sequence[dict[str, Any]], spent: float) -> dict[str, float]:
    """Figures of the whole benchmark; `spent` in seconds."""
    ratios = [row["times_faster"] for row in rows if "times_faster" in row]
    return {
        "smallest_times_faster": min(ratios),
        "median_times_faster": statistics.median(ratios),
        "largest_times_faster": max(ratios),
        "images": sum(row["runs"] * row["batch"] for row in rows),
        "hours": spent / 3600,
    }


def show(rows: Sequence[dict[str, Any]]) -> str:
    """Table of all rows."""
    return table(_HEADER, [_cells(row) for row in rows])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    known = row["network"], row["size"], f"{row['parameters']:,}", str(row["T"]), str(row["pixels"])
    speed = f"{row['images_per_second']:.1f}"
    if "times_faster" not in row:
        return (*known, speed, "-", "-")
    low, high = row["times_faster_quartiles"]
    faster = f"{row['times_faster']:.2f} [{low:.2f}, {high:.2f}]"
    return (*known, speed, f"{row['spikingjelly_images_per_second']:.1f}", faster)


def main() -> None:
    """Run all cases, print the table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="timed runs of each side")
    pairs = parser.parse_args().pairs
    if pairs < 2:
        parser.error(f"--pairs is {pairs}; give at least 2.")
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    spent = seconds(lambda: rows.extend(measure(case, pairs) for case in CASES))
    path = write_record("networks", rows, summarise(rows, spent))
    print(f"{show(rows)}\n\nfaster: median of {pairs} paired runs [quartiles].")
    print(f"Written to {os.path.relpath(path)}.")


if __name__ == "__main__":
    main()
