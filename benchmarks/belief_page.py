"""The page about what tells a drop on other images, made of the record alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NAMES = {
    "drop": "drop on the search images",
    "cross_entropy": "line through the cross-entropy on the search images",
    "kl": "line through the divergence on the gate's images",
    "believed": "what `joint` believes",
}
_TEXT = """# What a candidate really loses

    {command}

wrote this on {date}. Candidates of finished searches that were asked all search images and lost
less than 5 points there, asked the 10,000 test images. The lines were fitted to the test drops
themselves, so they show how much a measure can tell; what `joint` believes knows no test image.
Bias and deviation are mean and standard deviation of predicted minus true drop, in points. A
search image that the trained network was lucky with makes all candidates look worse alike, and the
other way round: that is the part of the bias which no proxy can know.

| search | candidates | proxy | correlation | bias | deviation |
| --- | --: | --- | --: | --: | --: |
{table}
"""


def page(record: Mapping[str, Any]) -> str:
    """Markdown of a record of `make bench-belief`."""
    rows, summary = record["rows"], record["summary"]
    lines = []
    for run in dict.fromkeys(row["run"] for row in rows):
        count = sum(row["run"] == run for row in rows)
        for name, label in _NAMES.items():
            correlation, bias, deviation = (
                summary[f"{run}: {name}: {figure}"]
                for figure in ("correlation", "bias", "deviation")
            )
            lines.append(
                f"| {run} | {count} | {label} | {correlation:.2f} | {100 * bias:+.2f} "
                f"| {100 * deviation:.2f} |"
            )
    return _TEXT.format(command=record["command"], date=record["date"][:10], table="\n".join(lines))


def write_page(record: Path, page_path: Path) -> Path:
    """Write the page of a record; returns where."""
    text = page(json.loads(record.read_text(encoding="utf-8")))
    page_path.parent.mkdir(parents=True, exist_ok=True)
    page_path.write_text(text, encoding="utf-8")
    return page_path
