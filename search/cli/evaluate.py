"""`spikefront evaluate`: accuracy of a stored model."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...evaluators.assessment import SPLITS, assess
from ...svtmodels.inspection import load_model
from ..config_yaml import parse_mapping, read_text
from .verb import Result, Verb


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="packed folder, checkpoint file, or name of the zoo")
    parser.add_argument("--split", default="test", help=f"one of {', '.join(SPLITS)}")
    parser.add_argument("--data", help="YAML file with data settings, if the model names none")


def _run(options: argparse.Namespace) -> Result:
    data = None
    if options.data is not None:
        data = parse_mapping(read_text(Path(options.data)), options.data)
    record = assess(load_model(options.model), data, options.split)
    low, high = record["interval"]
    text = (
        f"{options.model}: {record['accuracy']:.2%} [{low:.2%}, {high:.2%}] on {record['n']} "
        f"{record['split']} images, {record['images_per_second']:.0f} images/s"
    )
    return Result(text, {"model": options.model, **record})


VERB = Verb("evaluate", "measure the accuracy of a stored model", _arguments, _run)
