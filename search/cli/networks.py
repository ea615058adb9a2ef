"""`spikefront networks`: the known networks, published and trained."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ...spaces.errors import unknown_name
from ...svtmodels.configurations import CONFIGURATIONS
from ...svtmodels.zoo import zoo_names
from .table import table
from .verb import Result, Verb


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--architecture", help="only networks of this architecture")


def _run(options: argparse.Namespace) -> Result:
    wanted = options.architecture
    known = {c.architecture for c in CONFIGURATIONS.values()}
    if wanted is not None and wanted not in known:
        raise unknown_name("architecture", wanted, known)
    shown = [c for c in CONFIGURATIONS.values() if wanted is None or c.architecture == wanted]
    header = ("name", "architecture", "parameters", "T", "pixels", "published", "source")
    rows = [
        (
            c.name,
            c.architecture,
            f"{c.parameters:,}",
            str(c.time_steps),
            str(c.resolution),
            "-" if c.accuracy is None else f"{c.accuracy:g} %",
            c.source,
        )
        for c in shown
    ]
    text = table(header, rows) + f"\n\nTrained, in the zoo: {', '.join(zoo_names())}."
    return Result(text, {"networks": [asdict(c) for c in shown], "zoo": list(zoo_names())})


VERB = Verb("networks", "list the known networks", _arguments, _run)
