"""`make bench-gates`: how well each proxy ranks candidates, on the networks of the zoo.

Candidates are drawn between three and six bits, with more or less structure taken away, and each is
evaluated in full: signals of the gate's 128 images, accuracy on all search images. A proxy is as
good as its rank correlation with accuracy, over all candidates and over those that lose less than
8 points, where a gate has to tell apart. `model` is what a search fits: every candidate is
predicted by a model that was fitted without it. `ahead` (`gates_ahead`) predicts in order, with and
without the drift of single layers, and does so for finished searches, too, where they are given.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spikefront.evaluators.evaluation import WHOLE, Request
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.evaluators.preparation import TrainedModel, prepare
from spikefront.search.cli.table import table
from spikefront.search.drop_fit import SIGNALS, cross_fitted
from spikefront.search.rank_correlation import rank_correlation
from spikefront.spaces import Candidate, Granularity, SiteKind, Space

from .gates_ahead import foresight, of_rows, searched
from .gates_page import write_page
from .record import RESULTS, write_record

ROOT = Path(__file__).parents[1]
NETWORKS = (
    "spikformer-digits",
    "spikformer-cifar10",
    "sdt-v1-cifar10",
    "qkformer-cifar10",
    "sdt-v3-cifar10",
)
LEVELS: Mapping[SiteKind, tuple[float, ...]] = {
    SiteKind.CHANNEL: (0.25, 0.5, 0.75, 1.0),
    SiteKind.TOKEN: (0.5, 0.75, 1.0),
    SiteKind.WEIGHT: (2, 3, 4, 5, 6, 8),
    SiteKind.TIME: (1, 2, 3, 4),
}
NEAR = 0.08
PROXIES = (*SIGNALS, "model")


def drawn(space: Space, rng: random.Random) -> Candidate:
    """A candidate around a random bit-width, with a random share of its structure changed."""
    bits, share = rng.choice((3, 4, 5, 6)), rng.random()
    point = []
    for axis, full in zip(space.axes, space.full, strict=True):
        levels = range(len(axis.levels))
        if axis.kind is SiteKind.WEIGHT:
            wanted = bits + rng.choice((-1, 0, 0, 1))
            point.append(min(levels, key=lambda n, a=axis, w=wanted: abs(a.levels[n] - w)))
        else:
            change = rng.random() < (0.3 * share if axis.kind is SiteKind.TIME else share)
            point.append(rng.choice(levels) if change else full)
    return space.decode(point)


def measure(network: str, count: int, seed: int) -> list[dict[str, Any]]:
    """One row per candidate of a network: its signals, its layers' drift, and its drop."""
    model = TrainedModel.load(None, network, {})
    card = model.network.card
    blueprint, _ = prepare(model, dict(card["data"]), EvaluationSettings(), seed)
    evaluator, space = blueprint.build(), model.network.space(Granularity.LAYER, LEVELS)
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        evaluation = evaluator(Request(drawn(space, rng), checks=WHOLE))
        measures = evaluation.measures
        signals = {name: measures[name] for name in SIGNALS}
        facts = {name: measures[name] for name in ("bytes_ratio", "accuracy", "drop", "n_search")}
        row = {"part": "candidate", "network": network, "number": number, **signals, **facts}
        rows.append({**row, "layers": dict(evaluation.layers)})
    return rows


def ranks(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Rank correlation of each proxy with the accuracy drop, over all and over near candidates."""
    predictions = cross_fitted(of_rows(rows))
    values = {name: [float(row[name]) for row in rows] for name in SIGNALS}
    values["model"] = predictions.tolist()
    drops = [float(row["drop"]) for row in rows]
    near = [number for number, drop in enumerate(drops) if drop < NEAR]
    return {
        name: {
            "all": rank_correlation(found, drops),
            "near": rank_correlation([found[n] for n in near], [drops[n] for n in near]),
        }
        for name, found in values.items()
    }


def by_network(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of each network, in their order."""
    networks = dict.fromkeys(row["network"] for row in rows)
    return {name: [row for row in rows if row["network"] == name] for name in networks}


def named(whose: str, figures: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    """Figures of the summary; those that are None are left out."""
    return {
        f"{whose}: {what}: {where}": value
        for what, found in figures.items()
        for where, value in found.items()
        if value is not None
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write record and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--candidates", type=int, default=60, help="of each network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--searches", type=Path, help="folder of finished runs to look at, too")
    options = parser.parse_args(arguments)
    if options.candidates < 10:
        parser.error("--candidates must be at least 10.")
    started = time.monotonic()
    rows: list[dict[str, Any]] = []
    summary: dict[str, float] = {}
    for network in options.networks:
        own = measure(network, options.candidates, options.seed)
        rows += own
        summary |= named(network, ranks(own))
    sources = {f"{name}, drawn": of_rows(own) for name, own in by_network(rows).items()}
    if options.searches is not None:
        sources |= {f"{n}, searched": found for n, found in searched(options.searches).items()}
    for source, samples in sources.items():
        found = foresight(samples)
        rows.append({"part": "ahead", "source": source, "measured": len(samples), **found})
        summary |= named(f"{source}, ahead", found)
    summary["hours"] = (time.monotonic() - started) / 3600
    given = " ".join(sys.argv[1:] if arguments is None else arguments)
    path = write_record("gates", rows, summary, RESULTS, given)
    print(table(("figure", "value"), [(name, f"{value:.3f}") for name, value in summary.items()]))
    written = [path, write_page(path, ROOT / "docs")]
    print(f"Written to {', '.join(os.path.relpath(each) for each in written)}.")


if __name__ == "__main__":
    main()
