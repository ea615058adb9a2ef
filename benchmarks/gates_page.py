"""The page about proxies, made of the record alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_NAMES = {
    "drift": "membrane drift, mean over layers (AQ4SViT)",
    "drift_last": "membrane drift, last layer",
    "flips": "flip rate, mean over layers",
    "flips_last": "flip rate, last layer",
    "kl": "divergence from the trained network's predictions",
    "disagreement": "disagreement with its predictions",
    "model": "the gate's model of all of them and of single layers, out of sample",
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

## The drift of single layers

The gate's model may weigh the drift of every neuron layer beside the six signals of the whole
network above. Here every drop is predicted as in a search: by the line through those that were
measured before it. Left of the stroke the line knows the six signals, right of it the layers, too.
Each layer's weight is held back by a large ridge (`search/drop_fit.py` says how large and why).
Candidates of a finished search are those that were measured on search images: its own gate, where
it had one, has kept the worst away, and the drop of those that the sequential test ended is an
estimate.

| candidates | measured | rank correlation | below 5 points | mean error below 5 points, in points |
| --- | --: | --: | --: | --: |
{ahead}

Over these {sources} rows the layers change the mean rank correlation below 5 points by {close:+.3f}
and the mean error there by {error:+.3f} points. They are part of the gate's model.
"""


def page(record: Mapping[str, Any]) -> str:
    """Markdown of a record of `make bench-gates`."""
    candidates = [row for row in record["rows"] if row["part"] == "candidate"]
    networks = list(dict.fromkeys(row["network"] for row in candidates))
    summary = record["summary"]
    ahead = [row for row in record["rows"] if row["part"] == "ahead"]

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
        candidates=len(candidates) // len(networks),
        networks=" | ".join(f"`{network}`" for network in networks),
        rule=" | ".join("--:" for _ in networks),
        table="\n".join(lines),
        ahead="\n".join(_line(row) for row in ahead),
        sources=len(ahead),
        close=_gain(ahead, "close"),
        error=100 * _gain(ahead, "error"),
    )


def _line(row: Mapping[str, Any]) -> str:
    """Line of the table of what is predicted ahead."""
    cells = []
    for name, scale in (("all", 1), ("close", 1), ("error", 100)):
        pair = [row[line][name] for line in ("signals", "layers")]
        cells.append(" / ".join("-" if v is None else f"{scale * v:.3f}" for v in pair))
    name, kind = row["source"].rsplit(", ", 1)
    return f"| `{name}`, {kind} | {row['measured']} | " + " | ".join(cells) + " |"


def _gain(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    """Mean over the rows of what the layers add to a figure; rows without it are left out."""
    pairs = [(row["signals"][name], row["layers"][name]) for row in rows]
    gains = [layers - signals for signals, layers in pairs if None not in (signals, layers)]
    return sum(gains) / max(len(gains), 1)


def write_page(record: Path, folder: Path) -> Path:
    """Write the page of a record."""
    path = folder / "gates-results.md"
    path.write_text(page(json.loads(record.read_text(encoding="utf-8"))), encoding="utf-8")
    return path
