"""`spikefront train`: train a network from a config."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...evaluators.training.job import TrainingJob
from ...evaluators.training.loop import Progress
from ..config_yaml import parse_mapping, read_text
from .verb import Result, Verb


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="YAML file, e.g. examples/train-digits.yaml")
    parser.add_argument("--output", help="path of the checkpoint (output)")


def _run(options: argparse.Namespace) -> Result:
    values = parse_mapping(read_text(Path(options.config)), options.config)
    if options.output is not None:
        values["output"] = options.output
    job = TrainingJob.from_dict(values)
    card = job.run(lambda progress: _report(progress, job.recipe.epochs))
    text = (
        f"{job.output}: {card['accuracy_test']:.2%} on {card['n_test']} test images "
        f"({card['accuracy_search']:.2%} on the search split)."
    )
    return Result(text, {"checkpoint": str(job.output), **card})


def _report(progress: Progress, epochs: int) -> None:
    print(
        f"epoch {progress.epoch}/{epochs}: loss {progress.loss:.4f}, "
        f"accuracy {progress.accuracy:.2%}, {progress.seconds:.1f} s",
        file=sys.stderr,
        flush=True,
    )


VERB = Verb("train", "train a network on images that searches do not use", _arguments, _run)
