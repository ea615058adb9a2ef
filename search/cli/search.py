"""`spikefront search`: run a search, or say what it would cost."""

from __future__ import annotations

import argparse
from typing import Any

from ..dry_run import dry_run
from ..search import Search
from .outcome import outcome
from .verb import Result, Verb


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="YAML file; examples/search.yaml explains every field")
    parser.add_argument("--workers", type=int, help="number of workers (cluster.workers)")
    parser.add_argument("--name", help="name of the run (name)")
    parser.add_argument("--seed", type=int, help="seed (seed)")
    parser.add_argument(
        "--paper-split",
        action="store_true",
        help="search on the test images, as the published methods do, for comparison (paper_split)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print axes, size of the space, range of bytes, memory, disk and hours; run nothing",
    )


def _run(options: argparse.Namespace) -> Result:
    given = {
        "cluster.workers": options.workers,
        "name": options.name,
        "seed": options.seed,
        "paper_split": options.paper_split or None,
    }
    overrides: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    search = Search.from_config(options.config, overrides)
    if options.dry_run:
        text, record = dry_run(search)
        return Result(text, record)
    return outcome(search.run())


VERB = Verb("search", "search for the smallest models that are accurate enough", _arguments, _run)
