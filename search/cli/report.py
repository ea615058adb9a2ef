"""`spikefront report`: write a run's report anew, or its front as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...spaces.errors import BadInput
from ..report.build import build_report, front_svg
from ..run_folder import write_text
from .verb import Result, Verb


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="folder of the run, e.g. runs/demo")
    parser.add_argument("--svg", help="also write the front as a picture to this file")


def _run(options: argparse.Namespace) -> Result:
    if options.svg is not None and not Path(options.svg).parent.is_dir():
        raise BadInput(f"{Path(options.svg).parent}: no such folder; --svg takes a file in one.")
    path = build_report(Path(options.run))
    record = {"report": str(path)}
    if options.svg is not None:
        write_text(Path(options.svg), front_svg(Path(options.run)))
        record["svg"] = options.svg
    return Result("\n".join(record.values()), record)


VERB = Verb("report", "write the report of a run", _arguments, _run)
