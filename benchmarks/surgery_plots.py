"""Plots of the criteria: accuracy against what is kept, one picture per axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from .surgery_criteria import SWEEPS, Sweep

# The same rows give the same bytes.
mpl.rcParams["svg.hashsalt"] = "spikefront"


def plot_criteria(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write `surgery-<axis>.svg` for every axis that has rows."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for sweep in SWEEPS:
        own = [row for row in rows if row["axis"] == sweep.kind]
        if not own:
            continue
        path = folder / f"surgery-{sweep.kind}.svg"
        _figure(sweep, own).savefig(path, metadata={"Date": None})
        written.append(path)
    return written


def _figure(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> Figure:
    networks = list(dict.fromkeys(row["network"] for row in rows))
    figure = Figure(figsize=(3.4 * len(networks) + 1.6, 3.4), layout="constrained")
    axes = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
    colours = mpl.colormaps["tab10"]
    for axis, network in zip(axes, networks, strict=True):
        own = [row for row in rows if row["network"] == network]
        axis.axhline(100 * own[0]["trained"], color="0.7", linewidth=1)
        for number, way in enumerate(sweep.ways):
            for recovery, style in (("none", ":"), ("recovered", "-")):
                points = sorted(
                    (row["level"], 100 * row["accuracy"])
                    for row in own
                    if (row["way"], row["recovery"]) == (way, recovery)
                )
                label = way if recovery == "recovered" else None
                axis.plot(
                    *zip(*points, strict=True),
                    style,
                    color=colours(number % 10),
                    marker="o",
                    markersize=3,
                    linewidth=1.2,
                    label=label,
                )
        axis.set_title(network, fontsize=9)
        axis.set_xlabel(sweep.title, fontsize=8)
        axis.invert_xaxis()
        axis.tick_params(labelsize=7)
        axis.grid(color="0.92")
    axes[0].set_ylabel("accuracy, % (dotted: not recovered)", fontsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=7, frameon=False)
    return figure
