"""The page of results: tables of the record, and the plots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .surgery_criteria import RECOVERIES, SWEEPS, Sweep

_RATIOS = ("bytes_ratio", "state_bytes_ratio", "macs_ratio", "synops_ratio", "time_ratio")
_COLUMNS = ("choice", "bytes", "membranes", "MACs", "SynOps", "time", "accuracy")

_INTRODUCTION = """# Surgery, measured

    {command}

wrote this on {date}: {processor}, one thread, load {load_1_minute} (`--add` keeps what was measured
of other networks before, then with other work on the machine). Trained networks of the zoo, no
training; accuracy on at most {images} search images, of which one standard error is about
{error:.1f} points. [`surgery.md`](surgery.md) says what the names mean.

## Every axis by itself

The same choice at all sites, default options. Ratios are to the trained network (its bytes in
float32 with batch norms); time is the forward pass of 32 images, median of paired runs. A pass of
a network in plain torch gains from fewer channels, tokens and steps; what bits, density and
membranes of few bits save is memory, and operations on hardware that can use them.
"""

_CRITERIA = """## Every criterion

Accuracy on the same images, the one axis alone, without / with recovery (32 images). What the
published methods do is without. Dotted lines in the plots are without.
"""


def page(record: Mapping[str, Any]) -> str:
    """Markdown of a record of `make bench-surgery`."""
    rows = record["rows"]
    axes = [row for row in rows if row["part"] == "axes"]
    criteria = [row for row in rows if row["part"] == "criteria"]
    builds = [row for row in rows if row["part"] == "build"]
    images = max(row["images"] for row in axes)
    head = _INTRODUCTION.format(
        date=record["date"][:10],
        images=images,
        command=record["command"],
        error=100 * (0.75 * 0.25 / images) ** 0.5,
        **record["machine"],
    )
    parts = [head, *_axes(axes), _builds(builds), _CRITERIA, *_criteria(criteria)]
    return "\n".join(parts)


def _axes(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    for network in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == network]
        body = [
            (
                row["choice"],
                # Without neurons that keep a membrane there is nothing to compare.
                *(f"{row[name]:.2f}" if row[name] else "-" for name in _RATIOS),
                f"{row['accuracy']:.1%}",
            )
            for row in own
        ]
        yield f"### {network} ({own[0]['trained']:.1%})\n\n{_table(_COLUMNS, body)}\n"


def _builds(rows: Sequence[Mapping[str, Any]]) -> str:
    header = ("candidate", "first time", "again")
    body = [
        (
            row["choice"],
            f"{row['build_cold_seconds']:.2f} s",
            f"{1000 * row['build_warm_seconds']:.0f} ms",
        )
        for row in rows
    ]
    head = """## Building a candidate

Spikformer-4-384 (9.3 M parameters) on one core, CPU time: with nothing prepared, and with all that
it needs looked up.
"""
    return f"{head}\n{_table(header, body)}\n"


def _criteria(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    for sweep in SWEEPS:
        own = [row for row in rows if row["axis"] == sweep.kind]
        if not own:
            continue
        yield f"### {sweep.title}\n\n![{sweep.title}](surgery-{sweep.kind}.svg)\n"
        for network in dict.fromkeys(row["network"] for row in own):
            yield _sweep(sweep, [row for row in own if row["network"] == network])


def _sweep(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> str:
    found = {(r["way"], r["level"], r["recovery"]): r["accuracy"] for r in rows}
    levels = [level for level in sweep.levels if any(key[1] == level for key in found)]
    header = (f"{rows[0]['network']} ({rows[0]['trained']:.1%})", *(f"{v:g}" for v in levels))
    body = [(way, *(_pair(found, way, level) for level in levels)) for way in sweep.ways]
    return f"{_table(header, body)}\n"


def _pair(found: Mapping[tuple[str, float, str], float], way: str, level: float) -> str:
    return " / ".join(f"{100 * found[way, level, each]:.1f}" for each in RECOVERIES)


def _table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *body))
