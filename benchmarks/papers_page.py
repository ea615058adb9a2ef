"""The page about published methods: tables of the record."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from spikefront.search.cli.table import table

from .papers_runs import BEGINNING, REPEATED

Row = Mapping[str, Any]

JOINT = "joint"
GATED, UNGATED = "aq4svit-greedy-own", "aq4svit-greedy-own-ungated"
_HEADER = (
    "method",
    "surgery",
    "limit",
    "bytes saved",
    "MACs saved",
    "on the search images",
    "on the test images",
    "candidates",
    "image evaluations",
    "s",
)
_TOKEN_HEADER = ("network", "criterion", "trained", "half of the tokens", "lost")

_TEXT = """# Published methods, measured

    {command}

wrote this on {date}: {processor}, {cores} cores, load {load} when it ended. Nothing was trained.

Each method searched by itself; what it chose was then judged on the {test:,} test images, which
nothing had looked at before. *Limit* is what a method was allowed to lose on the {search:,} search
images. Both columns of accuracy are points against the trained network, on the test images with
the paired 95 % interval. *Saved* is relative to the trained network in float32. *Candidates* are
different ones, those of which only the drift was measured included; *image evaluations* are forward
passes of one image over the whole search, calibration images included; *s* are the seconds of its
evaluations, one after the other on one thread. Searches that ran at the same time slow each other
down.

* **as published**: surgery, levels and limit of the method's paper, as far as it could be read
  (`search/papers.py`): channels and weights by magnitude, no compensation, steps of integers by
  the largest weight.
* **second order**: the same method on this project's surgery, recovered on 128 calibration images,
  with scales and biases of 8 bits.
* `psvit`, `primesvt`: channels. `aq4svit`: bits. `l1p`, `dsp`: synapse pruning, single weights and
  dimensions. `tp-spikformer`: tokens, which saves MACs and no bytes. `joint`: all kinds at once;
  `joint-channels` and `joint-bits`: one kind alone.
* The methods choose the smallest model that kept the limit on the search images, which flatters it
  the more the more of them were tried. `joint` chooses the smallest that it believes to keep it;
  *smallest member* is what the others' rule would have chosen of its candidates.

The papers' own figures, on ImageNet and networks a hundred times as large: PSViT saves 22.4 % and
PrimeSVT 26.68 % at 3 points, AQ4SViT up to 82.5 % (greedy) and 90 % (beam) at 1.5 points.
"""

_EARLY = """## As many image evaluations

The smallest candidate that had kept the limit of 1.5 points on the search images when `joint` had
spent what each method spent in all, and how much it had spent until it had one at least as small as
what the method chose: medians over as many searches of `joint` as the last column says, which says
how many of these were there first. They differ by their seeds alone; all but the first end after
{beginning:,} image evaluations, and what they have then counts for methods that spent more. Methods
that save bytes; their limits stand above.

"""
_EARLY_HEADER = (
    "network",
    "method",
    "image evaluations",
    "saved",
    "joint saves by then",
    "joint is there after",
    "times fewer",
    "first",
)

_GATE = """## What gate and mini-batch of AQ4SViT save

The greedy search on second-order surgery, with both and without; its paper names a search that is
up to 6.6 times as fast.

"""
_GATE_HEADER = ("network", "with", "without", "times fewer", "saved with", "saved without")

_TOKENS = """## Which tokens stay

Half of the tokens of every block, on {images:,} search images; nothing else is changed, nothing is
recovered. `energy` is ours, `information` is TP-Spikformer's criterion as its paper tells it,
`official` as its code does it.

"""


def page(record: Mapping[str, Any]) -> str:
    """Markdown of a record of `make bench-papers`."""
    searches, tokens = _part(record["rows"], "search"), _part(record["rows"], "tokens")
    chosen = [row["model"] for row in searches if row["model"] is not None]
    head = _TEXT.format(
        command=record["command"],
        date=record["date"][:10],
        processor=record["machine"]["processor"],
        cores=record["machine"]["cores"],
        load=record["machine"]["load_1_minute"],
        test=max((model.get("n_test") or 0 for model in chosen), default=0),
        search=max((row["n_search"] for row in searches), default=0),
    )
    parts = [head]
    for network in _networks(searches):
        own = [row for row in searches if row["network"] == network]
        rows = [row for row in own if row["method"] not in REPEATED]
        cells = [line for row in rows for line in _lines(row)]
        parts.append(f"## {network}\n\n{_markdown(_HEADER, cells)}\n")
    if early := list(_early_cells(searches)):
        head = _EARLY.format(beginning=BEGINNING)
        parts.append(f"{head}{_markdown(_EARLY_HEADER, early)}\n")
    if gate := list(_gate_cells(searches)):
        parts.append(f"{_GATE}{_markdown(_GATE_HEADER, gate)}\n")
    if tokens:
        head = _TOKENS.format(images=max(row["images"] for row in tokens))
        parts.append(f"{head}{_markdown(_TOKEN_HEADER, map(_token_cells, tokens))}\n")
    return "\n".join(parts)


def write_page(record: Path, path: Path) -> Path:
    """Write the page of a record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(json.loads(record.read_text(encoding="utf-8"))), encoding="utf-8")
    return path


def show(rows: Sequence[Row]) -> str:
    """What is printed."""
    searches, tokens = _part(rows, "search"), _part(rows, "tokens")
    header = ("network", *_HEADER)
    parts = [table(header, [(row["network"], *_cells(row)) for row in searches])]
    if tokens:
        parts.append(table(_TOKEN_HEADER, [_token_cells(row) for row in tokens]))
    return "\n\n".join(parts)


def _part(rows: Sequence[Row], name: str) -> list[Row]:
    return [row for row in rows if row["part"] == name]


def _networks(rows: Sequence[Row]) -> Iterable[str]:
    return dict.fromkeys(row["network"] for row in rows)


def _lines(row: Row) -> Iterator[tuple[str, ...]]:
    """A method's line, and for those of `joint` one for the smallest member of its front."""
    yield _cells(row)
    smallest = row.get("smallest")
    if row["method"].startswith(JOINT) and smallest is not None and smallest != row["model"]:
        name, *cells = _cells({**row, "model": smallest})
        yield (f"{name}, smallest member", *cells)


def _cells(row: Row) -> tuple[str, ...]:
    model = row["model"]
    return (
        row["method"] + _remarks(row),
        row["surgery"],
        "-" if row["limit"] is None else _points(row["limit"]),
        "-" if model is None else f"{1 - model['bytes_ratio']:.1%}",
        "-" if model is None else f"{1 - model['macs'] / row['trained_macs']:.1%}",
        "-" if model is None else f"{100 * (model['accuracy_search'] - row['trained']):+.2f}",
        "-" if model is None else _tested(model),
        f"{row['candidates']:,}",
        f"{row['image_evaluations']:,}",
        f"{row['seconds']:,.0f}",
    )


def _remarks(row: Row) -> str:
    """What must be known of a method that did not come to its end, or missed its limits."""
    said = [] if row["met"] else ["limits not met"]
    said += [] if row["finished"] else ["not finished"]
    return f" ({', '.join(said)})" if said else ""


def _tested(model: Row) -> str:
    if model.get("test_difference") is None:
        return "-"
    low, high = model["test_interval"]
    return f"{100 * model['test_difference']:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def _points(share: float) -> str:
    return f"{100 * share:g}"


def _early_cells(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    for network in _networks(rows):
        own = {row["method"]: row for row in rows if row["network"] == network}
        progress = [own[name]["progress"] for name in (JOINT, *REPEATED) if name in own]
        if not progress:
            continue
        for name, row in own.items():
            if name.startswith(JOINT) or row["model"] is None or row["model"]["bytes_ratio"] >= 1:
                continue
            spent, ratio = row["image_evaluations"], row["model"]["bytes_ratio"]
            by_then = [_smallest_after(spent, found) for found in progress]
            there = [_images_until(ratio, found) for found in progress]
            first = sum(images <= spent for images in there)
            needed = median(there)
            yield (
                network,
                name,
                f"{spent:,}",
                _saved(row),
                f"{1 - median(by_then):.1%}",
                "never" if needed == math.inf else f"{needed:,.0f}",
                "-" if needed == math.inf else f"{spent / needed:.1f}",
                f"{first} of {len(there)}",
            )


def _smallest_after(spent: int, progress: Iterable[tuple[int, float]]) -> float:
    """Bytes' ratio of the smallest candidate after so many image evaluations; 1 where none is."""
    return min((ratio for images, ratio in progress if images <= spent), default=1.0)


def _images_until(enough: float, progress: Iterable[tuple[int, float]]) -> float:
    """Image evaluations until a candidate was as small; infinity where none came."""
    return next((images for images, ratio in progress if ratio <= enough), math.inf)


def _gate_cells(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    for network in _networks(rows):
        own = {row["method"]: row for row in rows if row["network"] == network}
        if GATED not in own or UNGATED not in own:
            continue
        gated, ungated = own[GATED], own[UNGATED]
        ratio = ungated["image_evaluations"] / gated["image_evaluations"]
        saved = (_saved(row) for row in (gated, ungated))
        counts = (f"{row['image_evaluations']:,}" for row in (gated, ungated))
        yield (network, *counts, f"{ratio:.2f}", *saved)


def _saved(row: Row) -> str:
    return "-" if row["model"] is None else f"{1 - row['model']['bytes_ratio']:.1%}"


def _token_cells(row: Row) -> tuple[str, ...]:
    return (
        row["network"],
        row["criterion"],
        f"{row['trained']:.2%}",
        f"{row['accuracy']:.2%}",
        f"{100 * (row['trained'] - row['accuracy']):.2f}",
    )


def _markdown(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *body))
