"""The page about proxies, made of the record alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NAMES = {
    "drift": "membrane drift, mean over layers (AQ4SViT)",
    "drift_last": "membrane drift, last layer",
    "flips": "flip rate, mean over layers",
    "flips_last": "flip rate, last layer",
    "kl": "divergence from the trained network's predictions",
    "disagreement": "disagreement with its predictions",
    "model": "the gate's model of all of them, out of sample",
}
_TEXT = """# Proxies of accuracy, measured

    {command}

wrote this on {date}: {processor}, {cores} cores. Per network {candidates} candidates were drawn
between three and six bits with more or less structure taken away, and evaluated in full. All
proxies come from one pass over the same 128 calibration images, which neither recovery nor the
search images share. A cell holds Spearman's rank correlation with the accuracy drop over all
candidates, and behind the stroke over those that lose less than 8 points.

| proxy | {networks} |
| --- | {rule} |
{table}
"""


def page(record: Mapping[str, Any]) -> str:
    """Markdown of a record of `make bench-gates`."""
    networks = list(dict.fromkeys(row["network"] for row in record["rows"]))
    summary = record["summary"]

    def cell(network: str, proxy: str) -> str:
        found = [summary.get(f"{network}: {proxy}: {where}") for where in ("all", "near")]
        return " / ".join("-" if value is None else f"{value:.2f}" for value in found)

    lines = [
        f"| {label} | " + " | ".join(cell(network, proxy) for network in networks) + " |"
        for proxy, label in _NAMES.items()
    ]
    return _TEXT.format(
        command=record["command"],
        date=record["date"][:10],
        processor=record["machine"]["processor"],
        cores=record["machine"]["cores"],
        candidates=len(record["rows"]) // len(networks),
        networks=" | ".join(f"`{network}`" for network in networks),
        rule=" | ".join("--:" for _ in networks),
        table="\n".join(lines),
    )


def write_page(record: Path, folder: Path) -> Path:
    """Write the page of a record."""
    path = folder / "gates-results.md"
    path.write_text(page(json.loads(record.read_text(encoding="utf-8"))), encoding="utf-8")
    return path
