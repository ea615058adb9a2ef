"""`make bench-surgery`: what surgery saves and what it costs, on the trained networks of the zoo.

First every axis by itself with the default options: bytes, MACs, SynOps and measured time. Then
accuracy against what is kept for every criterion, with and without recovery. No training. The
CIFAR-10 networks take part where their data lie in `data/cifar10`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from spikefront.svtmodels.zoo import zoo_names

from .pairing import seconds
from .record import RESULTS, write_record
from .surgery_axes import benches, measure_axes, show_axes
from .surgery_build import measure_builds
from .surgery_criteria import measure_criteria, show_criteria
from .surgery_page import page
from .surgery_plots import plot_criteria

_DOCS = Path(__file__).parents[1] / "docs"


def summarise(rows: Sequence[Mapping[str, Any]], spent: float) -> dict[str, float]:
    """Mean drop of each way of an axis over all networks and levels; `spent` in seconds."""
    drops: dict[str, list[float]] = {}
    for row in rows:
        if row["part"] == "criteria":
            name = f"drop: {row['axis']}, {row['way']}, {row['recovery']}"
            drops.setdefault(name, []).append(row["trained"] - row["accuracy"])
    means = {name: statistics.mean(found) for name, found in drops.items()}
    return {**means, "hours": spent / 3600}


def write_pages(record: Path, folder: Path) -> list[Path]:
    """Write tables and plots of a record; the same record gives the same files."""
    read = json.loads(record.read_text(encoding="utf-8"))
    results = folder / "surgery-results.md"
    results.write_text(page(read), encoding="utf-8")
    criteria = [row for row in read["rows"] if row["part"] == "criteria"]
    return [results, *plot_criteria(criteria, folder)]


def _others(networks: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the last record on other networks of the zoo."""
    path = RESULTS / "surgery.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    return [row for row in rows if row["part"] != "build" and row["network"] not in networks]


def main() -> None:
    """Measure all networks whose data are there; print tables, write record and plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="search images to judge on")
    parser.add_argument(
        "--add", action="store_true", help="keep what the last record says of other networks"
    )
    parser.add_argument("--networks", nargs="+", default=list(zoo_names()), help="of the zoo")
    options = parser.parse_args()
    if options.images < 1:
        parser.error(f"--images is {options.images}; give at least 1.")
    torch.set_num_threads(1)
    axes: list[dict[str, Any]] = []
    criteria: list[dict[str, Any]] = []

    def run() -> None:
        for bench in benches(options.networks, options.images):
            axes.extend(measure_axes(bench))
            print(show_axes([row for row in axes if row["network"] == bench.name]), flush=True)
            criteria.extend(measure_criteria(bench))
            own = [row for row in criteria if row["network"] == bench.name]
            print(f"\n{show_criteria(own)}\n", flush=True)

    spent = seconds(run)
    kept = _others(options.networks) if options.add else []
    rows = [*kept, *axes, *measure_builds(), *criteria]
    path = write_record("surgery", rows, summarise(rows, spent), arguments=" ".join(sys.argv[1:]))
    written = [path, *write_pages(path, _DOCS)]
    print(f"Written to {', '.join(os.path.relpath(each) for each in written)}.")


if __name__ == "__main__":
    main()
