"""`spikefront train`: train a network from a config."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...evaluators.training.job import TrainingJob
from ...evaluators.training.run import Progress
from ...spaces.errors import BadInput
from ..config_errors import explain
from ..config_sections import TrackingSection
from ..config_yaml import parse_mapping, read_text
from ..tracking import Tracker
from .verb import Result, Verb

_STOPPED = "KILLED"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="YAML file, e.g. examples/train-digits.yaml")
    parser.add_argument("--output", help="path of the checkpoint (output)")


def _run(options: argparse.Namespace) -> Result:
    values = parse_mapping(read_text(Path(options.config)), options.config)
    if options.output is not None:
        values["output"] = options.output
    # Without a `tracking` section nothing is tracked: a training is no search.
    section = values.pop("tracking", {"enabled": False})
    job = TrainingJob.from_dict(values)
    tracker = _tracker(section, job)
    tracker.start(job.output.stem, values, {"spikefront.kind": "training"})
    try:
        card = job.run(lambda progress: _report(progress, job, tracker), _note)
        tracker.progress(job.recipe.epochs, {"accuracy_test": card["accuracy_test"]})
        tracker.close("FINISHED")
    finally:
        tracker.close(_STOPPED)
    text = (
        f"{job.output}: {card['accuracy_test']:.2%} on {card['n_test']} test images "
        f"({card['accuracy_search']:.2%} on the search split)."
    )
    return Result(text, {"checkpoint": str(job.output), **card})


def _tracker(section: Any, job: TrainingJob) -> Tracker:
    if not isinstance(section, Mapping):
        raise BadInput(f"tracking is {section!r}; give a mapping, e.g. {{uri: null}}.")
    try:
        settings = TrackingSection.model_validate(dict(section)).settings
    except ValidationError as error:
        raise explain(error, TrackingSection, section, "tracking") from None
    if settings.enabled:
        job.output.parent.mkdir(parents=True, exist_ok=True)
    return Tracker(settings, job.output.parent)


def _report(progress: Progress, job: TrainingJob, tracker: Tracker) -> None:
    metrics: Mapping[str, float | None] = {
        "loss": progress.loss,
        "learning_rate": progress.learning_rate,
        "accuracy_search": progress.accuracy,
        "seconds": progress.seconds,
    }
    tracker.progress(progress.epoch, metrics)
    _note(
        f"epoch {progress.epoch}/{job.recipe.epochs}: loss {progress.loss:.4f}, "
        f"accuracy {progress.accuracy:.2%}, {progress.seconds:.1f} s"
    )


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


VERB = Verb("train", "train a network on images that searches do not use", _arguments, _run)
