"""`spikefront inspect`: what is in a model's file."""

from __future__ import annotations

import argparse
from typing import Any

from ...svtmodels.inspection import inspect_model
from ..config_yaml import parse_mapping
from .table import table
from .verb import Result, Verb


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="packed folder, checkpoint file, or name of the zoo")
    parser.add_argument(
        "--known",
        default="{}",
        help="what a foreign checkpoint cannot tell, as YAML, e.g. '{num_heads: 8}'",
    )


def _run(options: argparse.Namespace) -> Result:
    record = inspect_model(options.model, parse_mapping(options.known, "--known"))
    return Result(_text(record), record)


def _text(record: dict[str, Any]) -> str:
    arguments = ", ".join(f"{name} {value}" for name, value in record["arguments"].items())
    size = record["packed_bytes"] or record["float32_bytes"]
    what = "packed" if record["packed_bytes"] else "float32, batch norms folded"
    lines = [
        f"architecture  {record['architecture']} ({arguments})",
        f"input         {record['input_shape']}, T = {record['time_steps']}",
        f"parameters    {record['parameters']:,}",
        f"bytes         {size:,} ({what})",
    ]
    if record["accuracy_test"] is not None:
        lines.append(f"test accuracy {record['accuracy_test']:.2%} (recorded)")
    stages = [(name, f"{size:,}") for name, size in record["weight_bytes_by_stage"].items()]
    sites = [(s["kind"], s["name"], f"{s['size']:,}", s["stage"]) for s in record["sites"]]
    return "\n".join(
        [
            *lines,
            "",
            table(("stage", "bytes of weights"), stages),
            "",
            table(("site", "name", "size", "stage"), sites),
        ]
    )


VERB = Verb("inspect", "show what is in a model's file, without any data", _arguments, _run)
