"""`make bench-surgery`: what second-order surgery and recovery save, on the trained networks.

The same choice at every site; accuracy on the first search images after surgery by magnitude,
second-order surgery, and second-order surgery with recovery. No training. The CIFAR-10 networks
take part where their data lie in `data/cifar10`.
"""

from __future__ import annotations

import functools
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from spikefront.evaluators.accuracy import accuracy, batches
from spikefront.evaluators.builder import CandidateBuilder
from spikefront.evaluators.data import Preprocessing, load_splits
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.search.cli.table import table
from spikefront.spaces import MAGNITUDE, BadInput, Candidate
from spikefront.svtmodels.checkpoint import load_checkpoint
from spikefront.svtmodels.network import Network
from spikefront.svtmodels.surgery.moments import collect_moments
from spikefront.svtmodels.zoo import zoo_names, zoo_path

from .pairing import seconds
from .record import write_record

CHOICES: Mapping[str, Mapping[str, float]] = {
    "4 bits": {"weight": 4},
    "3 bits": {"weight": 3},
    "2 bits": {"weight": 2},
    "half of all channels": {"channel": 0.5},
    "3 bits, half of all channels": {"weight": 3, "channel": 0.5},
}
"""Levels by kind of site."""

MODES = ("magnitude", "second_order", "recovered")
_SEARCH_IMAGES = 1000
_HEADER = ("network", "trained", "choice", "magnitude", "second-order", "recovered", "built in")


def measure(name: str, images: int = _SEARCH_IMAGES) -> list[dict[str, Any]]:
    """Rows of one trained network of the zoo, one per choice.

    Raises:
        BadInput: its data are not there.
    """
    network = load_checkpoint(zoo_path(name))
    splits = load_splits(network.card["data"], with_train=False, with_test=False)
    preprocessing = Preprocessing.from_dict(network.card["preprocessing"])
    settings = EvaluationSettings()
    inputs = (x for x, _ in batches(splits.calibration, preprocessing, settings.batch_size))
    moments = collect_moments(network, inputs, len(splits.calibration))
    options = settings.surgery
    recovery = preprocessing.apply(splits.calibration.images[: options.recovery_images])
    unrecovered = replace(options, recovery_images=0)
    builders = {
        "magnitude": CandidateBuilder(network, MAGNITUDE, {}, recovery),
        "second_order": CandidateBuilder(network, unrecovered, moments, recovery),
        "recovered": CandidateBuilder(network, options, moments, recovery),
    }
    judged = splits.search.take(range(min(images, len(splits.search))))
    rows: list[dict[str, Any]] = []
    for choice, levels in CHOICES.items():
        candidate = _chosen(network, levels)
        row: dict[str, Any] = {
            "network": name,
            "choice": choice,
            "images": len(judged),
            "trained": accuracy(network, judged, preprocessing),
        }
        for mode, builder in builders.items():
            row[mode] = accuracy(builder.build(candidate), judged, preprocessing)
        # All that it needs was looked up once by now.
        build = functools.partial(builders["second_order"].build, candidate)
        row["warm_seconds"] = statistics.median(seconds(build) for _ in range(5))
        rows.append(row)
    return rows


def _chosen(network: Network, levels: Mapping[str, float]) -> Candidate:
    sites = [site for site in network.sites if site.kind.value in levels]
    return Candidate.of({site: site.value_at(levels[site.kind.value]) for site in sites})


def show(rows: Sequence[Mapping[str, Any]]) -> str:
    """Table of all rows."""
    return table(_HEADER, [_cells(row) for row in rows])


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    reached = (f"{row[mode]:.1%}" for mode in MODES)
    warm = f"{1000 * row['warm_seconds']:.0f} ms"
    return (row["network"], f"{row['trained']:.1%}", row["choice"], *reached, warm)


def summarise(rows: Sequence[Mapping[str, Any]], spent: float) -> dict[str, float]:
    """Mean drop of each mode over all rows, and hours; `spent` in seconds."""
    drops = {
        f"mean_drop_{mode}": statistics.mean(row["trained"] - row[mode] for row in rows)
        for mode in MODES
    }
    return {**drops, "hours": spent / 3600}


def main() -> None:
    """Measure all networks whose data are there, print the table and write the record."""
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []

    def run() -> None:
        for name in zoo_names():
            try:
                rows.extend(measure(name))
            except BadInput as error:
                print(f"{name} is left out: {error}")

    spent = seconds(run)
    path = write_record("surgery", rows, summarise(rows, spent))
    print(f"{show(rows)}\n\nWritten to {os.path.relpath(path)}.")


if __name__ == "__main__":
    main()
