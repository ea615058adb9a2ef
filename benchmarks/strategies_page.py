"""The page about strategies: figures and a picture, both made of the record alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

PICTURE = "strategies-results.svg"
_COLOURS = {
    "joint": "tab:blue",
    "nsga2": "tab:orange",
    "tpe": "tab:green",
    "random": "tab:gray",
}

_TEXT = """# Strategies, measured

    {command}

wrote this on {date}: {processor}, {cores} cores, {hours:.1f} hours of searching in all. Every
search is real, on the axes of the demo (channels, tokens, bits, time steps, layer by layer), for
accuracy and bytes without a limit, with gate and sequential test as they are by default. A search
ends when it has spent its image evaluations; probes count. Hypervolume is a share of the best
there could be, against the accuracy of guessing and the trained network's bytes in float32.

{sections}
![Hypervolume over image evaluations; bands: lowest and highest of all seeds]({picture})
"""
_SECTION = """## `{network}`, {images:,} image evaluations, {seeds}

| strategy | hypervolume | standard deviation | evaluations | probes among them | minutes |
| --- | --: | --: | --: | --: | --: |
{table}

{verdict}
"""


def page(record: Mapping[str, Any]) -> str:
    """Markdown of a record of `make bench-strategies`."""
    networks = dict.fromkeys(row["network"] for row in record["rows"])
    return _TEXT.format(
        command=record["command"],
        date=record["date"][:10],
        processor=record["machine"]["processor"],
        cores=record["machine"]["cores"],
        hours=record["summary"]["hours"],
        sections="\n".join(_section(record, network) for network in networks),
        picture=PICTURE,
    )


def write_pages(record: Path, folder: Path) -> list[Path]:
    """Write page and picture of a record; the same record gives the same files."""
    read = json.loads(record.read_text(encoding="utf-8"))
    text, picture = folder / "strategies-results.md", folder / PICTURE
    text.write_text(page(read), encoding="utf-8")
    with mpl.rc_context({"svg.hashsalt": "spikefront"}):
        _figure(read).savefig(picture, metadata={"Date": None})
    return [text, picture]


def _section(record: Mapping[str, Any], network: str) -> str:
    rows = [row for row in record["rows"] if row["network"] == network]
    seeds = len({row["seed"] for row in rows})
    return _SECTION.format(
        network=network,
        images=max(row["image_evaluations"] for row in rows),
        seeds="one seed" if seeds == 1 else f"{seeds} seeds",
        table="\n".join(_line(strategy, own) for strategy, own in _by_strategy(rows).items()),
        verdict=_verdict(record["summary"], network),
    )


def _by_strategy(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    names = dict.fromkeys(row["strategy"] for row in rows)
    return {name: [row for row in rows if row["strategy"] == name] for name in names}


def _line(strategy: str, rows: Sequence[Mapping[str, Any]]) -> str:
    volumes = [row["hypervolume"] for row in rows]
    evaluations, probes, taken = (
        float(np.mean([row[name] for row in rows])) for name in ("evaluations", "probes", "seconds")
    )
    return (
        f"| `{strategy}` | {np.mean(volumes):.4f} | {np.std(volumes):.4f} | {evaluations:.0f} "
        f"| {probes:.0f} | {taken / 60:.1f} |"
    )


def _verdict(summary: Mapping[str, float], network: str) -> str:
    fewer = summary.get(f"{network}: times fewer images")
    if fewer is None:
        return "`joint` did not reach the final hypervolume of `nsga2` with every seed."
    until = summary[f"{network}: images until nsga2's hypervolume"]
    had = summary[f"{network}: times fewer images, from when it was had"]
    return (
        f"`joint` had the mean final hypervolume of `nsga2` after {until:,.0f} image evaluations:\n"
        f"**{fewer:.1f} times fewer** ({had:.1f} times fewer than `nsga2` itself had spent when it "
        "came to it)."
    )


def _figure(record: Mapping[str, Any]) -> Figure:
    networks = list(dict.fromkeys(row["network"] for row in record["rows"]))
    figure = Figure(figsize=(4.2 * len(networks), 3.4), layout="constrained")
    for axis, network in zip(
        np.atleast_1d(figure.subplots(1, len(networks))), networks, strict=True
    ):
        rows = [row for row in record["rows"] if row["network"] == network]
        for strategy, own in _by_strategy(rows).items():
            _draw(axis, strategy, own)
        axis.set_xscale("log")
        axis.set_xlabel(f"image evaluations, {network}", fontsize=8)
        axis.set_ylabel("hypervolume", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(color="0.92")
        axis.legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def _draw(axis: Axes, strategy: str, rows: Sequence[Mapping[str, Any]]) -> None:
    colour = _COLOURS[strategy]
    longest = max(row["image_evaluations"] for row in rows)
    grid = np.geomspace(1_000, longest, 300)
    volumes = np.stack([_volumes(row, grid) for row in rows])
    shown = volumes.min(axis=0) > 0
    low, high = volumes.min(axis=0)[shown], volumes.max(axis=0)[shown]
    axis.fill_between(grid[shown], low, high, color=colour, alpha=0.15, linewidth=0)
    axis.plot(grid[shown], volumes.mean(axis=0)[shown], color=colour, label=strategy)


def _volumes(row: Mapping[str, Any], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hypervolume [G] after so many image evaluations."""
    images = np.array([images for images, _ in row["curve"]])
    volumes = np.array([0.0, *(volume for _, volume in row["curve"])])
    return volumes[np.searchsorted(images, grid, side="right")]
