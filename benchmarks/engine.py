"""`make bench-engine`: how fast the compiled engine is, and where its time goes.

Beside the same networks as plain torch modules, and beside spikingjelly's model zoo: both sides
in turn, in one process with one thread. Full precision, and candidates of 8 and 4 bits.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from .engine_cases import BITS, EngineCase, large_cases, zoo_cases
from .engine_kernels import measure_kernels, measure_peaks
from .engine_page import page, show
from .engine_speed import measure_other, measure_speed
from .pairing import seconds
from .record import write_record

_DOCS = Path(__file__).parents[1] / "docs"
_PEAK_REPEATS, _PASSES = 20, 3


def measure(case: EngineCase, pairs: int) -> Iterator[dict[str, Any]]:
    """All rows of one network."""
    for bits in BITS:
        yield measure_speed(case, bits, pairs)
    other = measure_other(case, pairs)
    if other is not None:
        yield other
    for bits in BITS:
        yield from measure_kernels(case, bits, _PASSES)


def summarise(rows: Sequence[Mapping[str, Any]], spent: float) -> dict[str, float]:
    """Median and smallest ratio of each comparison over all networks; `spent` in seconds."""
    ratios: dict[str, list[float]] = {}
    for row in rows:
        if row["part"] == "speed":
            ratios.setdefault(f"plain torch, {row['bits']} bits", []).append(row["times_faster"])
        elif row["part"] == "spikingjelly":
            ratios.setdefault("spikingjelly", []).append(row["times_faster"])
    medians = {f"median times faster: {name}": statistics.median(r) for name, r in ratios.items()}
    least = {f"smallest times faster: {name}": min(r) for name, r in ratios.items()}
    return {**medians, **least, "hours": spent / 3600}


def write_page(record: Path, folder: Path) -> Path:
    """Write the page of a record; the same record gives the same page."""
    path = folder / "engine-results.md"
    path.write_text(page(json.loads(record.read_text(encoding="utf-8"))), encoding="utf-8")
    return path


def main() -> None:
    """Measure all networks, print the table, write record and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9, help="timed runs of each side")
    parser.add_argument("--images", type=int, default=100, help="for networks of the zoo")
    parser.add_argument("--large-images", type=int, default=64, help="for those of width 384")
    options = parser.parse_args()
    if options.pairs < 2 or min(options.images, options.large_images) < 2:
        parser.error("give at least 2 pairs and 2 images.")
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []

    def run() -> None:
        rows.extend(measure_peaks(_PEAK_REPEATS))
        for case in chain(zoo_cases(options.images), large_cases(options.large_images)):
            own = list(measure(case, options.pairs))
            print(show(own), flush=True)
            rows.extend(own)

    spent = seconds(run)
    path = write_record("engine", rows, summarise(rows, spent), arguments=" ".join(sys.argv[1:]))
    written = [path, write_page(path, _DOCS)]
    print(f"Written to {', '.join(os.path.relpath(each) for each in written)}.")


if __name__ == "__main__":
    main()
