"""The page about whole searches: figures and a picture, both made of the record alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from spikefront.search.front import pareto_mask

from .search_curve import OWN, PLAIN

PICTURE = "search-results.svg"
_SIDES = {OWN: "tab:blue", PLAIN: "tab:orange"}

_TEXT = """# A whole search, measured

    {command}

wrote this on {date}: {processor}, {cores} cores, load {load} when it ended. Both sides searched the
{axes} axes of `{network}` ({parameters:.2f} M parameters) for accuracy and bytes, {candidates}
candidates each, judged on the same {images:,} search images, with {workers} workers of one thread,
seed {seed}. Each side had processes of its own and empty caches; seconds count from the start of
its process, preparation included.

* **spikefront**: `Search` with NSGA-II (population {population}), all else as it is by default.
* **plain**: [`plain_search.py`](../benchmarks/plain_search.py), what a user would write today: a
  function trainable of Ray Tune, Optuna's NSGA-II (population {population}), channels by the size
  of their weights, rounding to nearest, neurons of {neurons}, all images for every candidate.

Hypervolume is a share of the best there could be, against the reference point accuracy
{accuracy:.2f} and {bytes:,} bytes (the trained network in float32). Of candidates that were
rejected early nothing counts.

| | spikefront | plain |
| --- | --: | --: |
{table}

{verdict}

![Hypervolume over seconds, and the fronts]({picture})
"""

_ROWS = (
    ("candidates", "candidates", "{:,.0f}"),
    ("seconds until the first", "s until the first candidate", "{:,.1f}"),
    ("seconds until the last", "s until the last candidate", "{:,.1f}"),
    ("seconds of the process", "s of the whole process", "{:,.1f}"),
    ("images", "images evaluated for candidates", "{:,.0f}"),
    ("hypervolume", "hypervolume", "{:.4f}"),
)


def page(record: Mapping[str, Any]) -> str:
    """Markdown of a record of `make bench-search`."""
    facts, summary = _facts(record), record["summary"]
    body = (
        f"| {label} | " + " | ".join(form.format(summary[f"{s}: {name}"]) for s in _SIDES) + " |"
        for name, label, form in _ROWS
    )
    return _TEXT.format(
        command=record["command"],
        date=record["date"][:10],
        processor=record["machine"]["processor"],
        cores=record["machine"]["cores"],
        load=record["machine"]["load_1_minute"],
        axes=facts["axes"],
        network=facts["network"],
        parameters=facts["parameters"] / 1e6,
        candidates=f"{summary[f'{PLAIN}: candidates']:.0f}",
        images=facts["images"],
        workers=facts["workers"],
        seed=facts["seed"],
        population=facts["population"],
        neurons=facts["plain_neurons"],
        accuracy=facts["reference"]["accuracy"],
        bytes=facts["reference"]["bytes"],
        table="\n".join(body),
        verdict=_verdict(summary),
        picture=PICTURE,
    )


def write_pages(record: Path, folder: Path) -> list[Path]:
    """Write page and picture of a record; the same record gives the same files."""
    read = json.loads(record.read_text(encoding="utf-8"))
    text, picture = folder / "search-results.md", folder / PICTURE
    text.write_text(page(read), encoding="utf-8")
    # The same rows give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "spikefront"}):
        _figure(read).savefig(picture, metadata={"Date": None})
    return [text, picture]


def _facts(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(row for row in record["rows"] if row["part"] == "setup")


def _verdict(summary: Mapping[str, float]) -> str:
    same = summary["times faster, same number of candidates"]
    candidates = (
        f"In wall time until the last candidate spikefront was {same:.1f} times as fast as the\n"
        "plain side. "
    )
    reached = summary.get(f"{OWN}: seconds until the plain side's hypervolume")
    if reached is None:
        return f"{candidates}It did not reach the plain side's final hypervolume."
    had = summary[f"{PLAIN}: seconds until its hypervolume"]
    whole = summary["times faster, same hypervolume"]
    from_had = summary["times faster, same hypervolume, from when it was had"]
    return (
        f"{candidates}It had the plain side's final hypervolume after {reached:.1f} s:\n"
        f"**{whole:.1f} times as fast** as the plain side's search, whose own came to it after "
        f"{had:.1f} s\n({from_had:.1f} times)."
    )


def _figure(record: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    over_time, fronts = figure.subplots(1, 2)
    for side, colour in _SIDES.items():
        rows = [r for r in record["rows"] if r["part"] == "curve" and r["side"] == side]
        seconds = [row["seconds"] for row in rows]
        volumes = [row["hypervolume"] for row in rows]
        over_time.step(seconds, volumes, where="post", color=colour, label=side)
        _front(fronts, rows, colour)
    over_time.set_xscale("log")
    over_time.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    over_time.xaxis.set_major_formatter(ScalarFormatter())
    over_time.xaxis.set_minor_formatter(NullFormatter())
    over_time.set_xlabel("seconds since the start", fontsize=8)
    over_time.set_ylabel("hypervolume", fontsize=8)
    over_time.legend(fontsize=8, frameon=False)
    fronts.set_xlabel("kB", fontsize=8)
    fronts.set_ylabel("accuracy on the search images, %", fontsize=8)
    for axis in (over_time, fronts):
        axis.tick_params(labelsize=7)
        axis.grid(color="0.92")
    return figure


def _front(axis: Axes, rows: Sequence[Mapping[str, Any]], colour: str) -> None:
    complete = [row for row in rows if row["state"] == "complete"]
    if not complete:
        return
    points = [(row["accuracy"], row["bytes"]) for row in complete]
    mask = pareto_mask(points, (True, False))
    best = sorted((p[1] / 1000, 100 * p[0]) for p, kept in zip(points, mask, strict=True) if kept)
    axis.plot(*zip(*best, strict=True), "o-", color=colour, markersize=3, linewidth=1)
