"""Entry point of the console script: finds the verb, turns errors into exit codes."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence

from ...spaces.errors import BadInput, RunFailed, SpikefrontError
from . import data, evaluate, inspect, networks, report, resume, search, train, verify
from .verb import Verb

VERBS: tuple[Verb, ...] = (
    search.VERB,
    resume.VERB,
    train.VERB,
    evaluate.VERB,
    verify.VERB,
    inspect.VERB,
    networks.VERB,
    data.VERB,
    report.VERB,
)
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        0 done, 2 bad input, 3 nothing feasible, 4 failed while running, 130 interrupted.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.verb is None:
        parser.print_help(sys.stderr)
        return BadInput.exit_code
    try:
        result = options.verb.run(options)
    except SpikefrontError as error:
        return _fail(str(error), error.exit_code, options.json)
    except OSError as error:
        return _fail(str(error), RunFailed.exit_code, options.json)
    except KeyboardInterrupt as interrupt:
        return _fail(f"interrupted; {interrupt}".rstrip("; "), INTERRUPTED, options.json)
    _print(json.dumps(result.record, indent=1) if options.json else result.text)
    return result.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="spikefront",
        description="Finds the smallest, cheapest spiking vision transformer that is still "
        "accurate enough.",
    )
    parser.set_defaults(verb=None)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    for verb in VERBS:
        sub = verbs.add_parser(verb.name, help=verb.summary, description=verb.summary)
        verb.arguments(sub)
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        sub.set_defaults(verb=verb)
    return parser


def _fail(message: str, code: int, as_json: bool) -> int:
    if as_json:
        _print(json.dumps({"error": message, "exit_code": code}))
    print(f"spikefront: {message}", file=sys.stderr)
    return code


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Whoever read our output has gone, and Python's last flush must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
