"""`spikefront verify`: check an exported model against its record."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...evaluators.packing import verify
from .verb import Result, Verb

_FAILED = 4


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="packed folder, e.g. runs/demo/members/KEY")
    parser.add_argument("--no-data", action="store_true", help="leave the test split out")


def _run(options: argparse.Namespace) -> Result:
    found = verify(Path(options.folder), with_data=not options.no_data)
    bytes_text = f"{found.bytes_measured:,} (recorded {found.bytes_recorded:,})"
    lines = [
        f"checksums  ok\nbytes      {bytes_text}",
        f"golden     {'reproduced exactly' if found.golden else 'NOT reproduced'}",
    ]
    if found.accuracy_measured is not None and found.accuracy_recorded is not None:
        lines.append(
            f"accuracy   {found.accuracy_measured:.2%} on {found.n_test} test images "
            f"(recorded {found.accuracy_recorded:.2%})"
        )
    lines.append("verified" if found.passed else "NOT verified: the record does not hold")
    record = {
        "folder": str(found.folder),
        "passed": found.passed,
        "bytes": found.bytes_measured,
        "bytes_recorded": found.bytes_recorded,
        "golden": found.golden,
        "accuracy": found.accuracy_measured,
        "accuracy_recorded": found.accuracy_recorded,
        "n_test": found.n_test,
    }
    return Result("\n".join(lines), record, 0 if found.passed else _FAILED)


VERB = Verb("verify", "check an exported model against its record", _arguments, _run)
