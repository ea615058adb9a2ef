"""`spikefront resume`: go on with a search that was interrupted."""

from __future__ import annotations

import argparse
from typing import Any

from ..search import Search
from .outcome import outcome
from .verb import Result, Verb


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="folder of the run, e.g. runs/demo")
    parser.add_argument("--workers", type=int, help="number of workers")
    parser.add_argument(
        "--candidates", type=int, help="raise the budget to so many; patience no longer ends it"
    )


def _run(options: argparse.Namespace) -> Result:
    given = {"cluster.workers": options.workers, "budget.candidates": options.candidates}
    overrides: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    if options.candidates is not None:
        # A search that patience ended would end again at once.
        overrides["budget.patience"] = None
    return outcome(Search.resume(options.run, overrides).run())


VERB = Verb("resume", "go on with a search that was interrupted", _arguments, _run)
