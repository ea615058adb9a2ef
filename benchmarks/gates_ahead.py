"""Whether the drift of single layers helps the gate's model to see ahead.

As in a search: every drop is predicted by the line that was fitted to those measured before it,
once from the six signals of the whole network and once from these and the drift of every layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spikefront.evaluators.evaluation import Evaluation
from spikefront.search.drop_fit import SIGNALS, DropSample, fit_line
from spikefront.search.ledger import Ledger
from spikefront.search.rank_correlation import rank_correlation

FIRST = 10
"""So many drops are measured before one is predicted; the gate's model begins there, too."""
LAST = 400
"""So many of the drops before it the line is fitted to, as the gate's."""
CLOSE = 0.05
"""Drops below this one are close to the limit that a search may set."""
ENOUGH = 60
"""A search with fewer measured drops is left out."""
LINES = ("signals", "layers")
FIGURES = ("all", "close", "error")


def ahead(samples: Sequence[DropSample]) -> list[float]:
    """Prediction of every sample from the `FIRST` on, by the line through those before it."""
    return [
        fit_line(samples[max(0, number - LAST) : number]).predict(samples[number].known)
        for number in range(FIRST, len(samples))
    ]


def foresight(samples: Sequence[DropSample]) -> dict[str, dict[str, float | None]]:
    """By line: rank correlation with the drop, over all and over close ones, and mean error.

    The error is absolute, of close ones; a figure is None where nothing tells it.
    """
    pooled = [replace(sample, layers={}) for sample in samples]
    drops = [sample.drop for sample in samples[FIRST:]]
    return {
        line: _figures(ahead(given), drops)
        for line, given in zip(LINES, (pooled, samples), strict=True)
    }


def of_rows(rows: Sequence[Mapping[str, Any]]) -> list[DropSample]:
    """Samples of the benchmark's own candidates, as they were drawn."""
    return [DropSample(row, row["layers"], row["drop"], row["n_search"]) for row in rows]


def searched(folder: Path) -> dict[str, list[DropSample]]:
    """Samples of finished searches by name, in the order of their commits.

    Args:
        folder: of runs; those with fewer than `ENOUGH` measured drops are left out.
    """
    found = {path.parent.name: of_ledger(path) for path in sorted(folder.glob("*/ledger.jsonl"))}
    return {name: samples for name, samples in found.items() if len(samples) >= ENOUGH}


def of_ledger(path: Path) -> list[DropSample]:
    """Samples of a ledger: what has all signals and was measured on search images."""
    _, events = Ledger.read(path)
    records = [event["evaluation"] for event in events if event["event"] == "evaluated"]
    samples = []
    for evaluation in map(Evaluation.from_dict, records):
        measures = evaluation.measures
        if "drop" in measures and all(name in measures for name in SIGNALS):
            images = measures["n_search"]
            samples.append(DropSample(measures, evaluation.layers, measures["drop"], images))
    return samples


def _figures(found: Sequence[float], drops: Sequence[float]) -> dict[str, float | None]:
    close = [number for number, drop in enumerate(drops) if drop < CLOSE]
    near_found, near_drops = ([each[n] for n in close] for each in (found, drops))
    errors = np.abs(np.subtract(near_found, near_drops))
    return {
        "all": rank_correlation(found, drops),
        "close": rank_correlation(near_found, near_drops),
        "error": float(errors.mean()) if close else None,
    }
