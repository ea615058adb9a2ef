"""`make bench-belief`: what tells, on the search images, what a candidate loses on others.

Candidates of finished searches that were asked all search images and lost less than 5 points there
are built again and asked the test images, which no search looks at. Compared with the drop there:
the measured drop, straight lines through cross-entropy and divergence, and what `joint` believes.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spikefront.evaluators.evaluation import Evaluation, Request
from spikefront.evaluators.preparation import prepare
from spikefront.search import Search
from spikefront.search.cli.table import table
from spikefront.search.ledger import Ledger
from spikefront.search.run_folder import RunFolder
from spikefront.search.strategies.joint.belief import believed_drops
from spikefront.spaces import BadInput

from .belief_page import write_page
from .record import RESULTS, write_record

ROOT = Path(__file__).parents[1]
NEAR = 0.05
LINES = ("cross_entropy", "kl")
"""Measures that say nothing of drops by themselves: a line through them is fitted to all rows."""


def measured(ledger: Path) -> tuple[list[Evaluation], list[bool]]:
    """Candidates of a ledger that were asked all search images, and which were to be, at any rate.

    Args:
        ledger: of a finished search.
    """
    _, events = Ledger.read(ledger)
    checked = {e["index"] for e in events if e["event"] == "suggested" and e["checks"] is not None}
    found: dict[str, tuple[Evaluation, bool]] = {}
    for event in events:
        if event["event"] != "evaluated":
            continue
        evaluation = Evaluation.from_dict(event["evaluation"])
        if all(name in evaluation.measures for name in ("drop", *LINES)):
            fair = evaluation.audited or event["index"] in checked
            found.setdefault(evaluation.key, (evaluation, fair))
    return [each for each, _ in found.values()], [fair for _, fair in found.values()]


def rows_of(run: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """One row per candidate of a finished search: what was measured, believed and true.

    Args:
        run: folder of the search.
        count: candidates that are tested, at most, drawn from all that lost little.
        seed: of the draw.

    Raises:
        BadInput: the search is none of `joint`'s, or has no such candidates.
    """
    evaluations, fair = measured(RunFolder(run).ledger)
    believed = believed_drops(evaluations, fair).tolist()
    near = [n for n, e in enumerate(evaluations) if e.measures["drop"] < NEAR]
    if not near:
        raise BadInput(f"{run} has no candidate that was measured in full and lost little.")
    search = Search.resume(run)
    plan, config = search.plan(), search.config
    blueprint, _ = prepare(plan.model, config.data, plan.settings, config.seed)
    evaluator = blueprint.build()
    rows = []
    for number in sorted(random.Random(seed).sample(near, min(count, len(near)))):
        tested = evaluator(Request(evaluations[number].candidate, test=True)).measures
        measures = evaluations[number].measures
        facts = {name: measures[name] for name in ("bytes", "drop", *LINES)}
        row = {"run": run.name, **facts, "believed": believed[number], "test": tested["drop_test"]}
        rows.append({**row, "fair": fair[number]})
        print(f"{run.name}: {len(rows)}", end="\r", file=sys.stderr, flush=True)
    return rows


def errors(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Of each proxy: correlation with the test drop, mean error and its standard deviation."""
    truth = np.array([row["test"] for row in rows])
    found = {}
    for name in ("drop", *LINES, "believed"):
        values = np.array([row[name] for row in rows])
        if name in LINES:
            values = np.polyval(np.polyfit(values, truth, 1), values)
        found[name] = {
            "correlation": float(np.corrcoef(values, truth)[0, 1]),
            "bias": float((values - truth).mean()),
            "deviation": float((values - truth).std()),
        }
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Test candidates of all runs that are given, print a table, write record and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished searches")
    parser.add_argument("--count", type=int, default=40, help="candidates of each run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the record")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page")
    options = parser.parse_args(arguments)
    try:
        rows = [row for run in options.runs for row in rows_of(run, options.count, options.seed)]
    except BadInput as error:
        parser.error(str(error))
    summary: dict[str, float] = {}
    for run in options.runs:
        for name, figures in errors([row for row in rows if row["run"] == run.name]).items():
            summary |= {f"{run.name}: {name}: {figure}": v for figure, v in figures.items()}
    print(table(["figure", "value"], [[name, f"{value:.4f}"] for name, value in summary.items()]))
    given = " ".join(sys.argv[1:] if arguments is None else arguments)
    path = write_record("belief", rows, summary, options.results, given)
    page = write_page(path, options.docs / "belief-results.md")
    print(f"Written to {os.path.relpath(path)}, {os.path.relpath(page)}.")


if __name__ == "__main__":
    main()
