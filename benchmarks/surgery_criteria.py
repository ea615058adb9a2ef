"""Accuracy against what is kept, for every criterion, with and without recovery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spikefront.search.cli.table import table
from spikefront.spaces import MAGNITUDE, SurgeryOptions

from .surgery_bench import RECOVERY_IMAGES, SurgeryBench, choice


@dataclass(frozen=True)
class Sweep:
    """One axis, its levels, and the ways in which it is cut.

    Attributes:
        kind: of the sites that are chosen at; all others stay as they are.
        title: for tables and plots.
        levels: nominal ones.
        ways: options by name.
    """

    kind: str
    title: str
    levels: tuple[float, ...]
    ways: Mapping[str, SurgeryOptions]


_ALONE = replace(SurgeryOptions(), recovery_images=0)

SWEEPS = (
    Sweep(
        "channel",
        "channels kept",
        (0.75, 0.5, 0.25),
        {
            **{
                name: replace(MAGNITUDE, channels=name)
                for name in ("l2", "l1", "l1-joint", "bn-scale", "rate", "variance", "taylor")
            },
            "variance, mean": replace(MAGNITUDE, channels="variance", compensation="mean"),
            "l2, least squares": replace(_ALONE, channels="l2"),
            "surgeon": _ALONE,
        },
    ),
    Sweep(
        "residual",
        "residual width kept",
        (0.75, 0.5),
        {"l2": replace(MAGNITUDE, channels="l2"), "surgeon": _ALONE},
    ),
    Sweep(
        "token",
        "tokens kept",
        (0.75, 0.5, 0.3),
        {
            name: replace(_ALONE, tokens=name)
            for name in ("information", "official", "spikes", "random", "energy")
        },
    ),
    Sweep(
        "weight",
        "bits",
        (4, 3, 2, 1),
        {
            "max, nearest": replace(MAGNITUDE, scales="max"),
            "percentile, nearest": replace(MAGNITUDE, scales="percentile"),
            "mse, nearest": MAGNITUDE,
            "importance, compensated": _ALONE,
        },
    ),
    Sweep(
        "density",
        "weights kept",
        (0.5, 0.3, 0.2, 0.1),
        {
            "magnitude": replace(MAGNITUDE, density="magnitude"),
            "magnitude, one threshold": replace(
                MAGNITUDE, density="magnitude", density_scope="network"
            ),
            "compensated": _ALONE,
        },
    ),
    Sweep("time", "time steps", (3, 2, 1), {"fewer": _ALONE}),
    Sweep("state", "membrane bits", (8, 6, 4), {"rounded": _ALONE}),
)
"""Every published criterion and ours. The published ones make up for nothing."""

RECOVERIES = {"none": 0, "recovered": RECOVERY_IMAGES}


def measure_criteria(bench: SurgeryBench) -> Iterator[dict[str, Any]]:
    """Rows: one per sweep, way, level and recovery."""
    for sweep in SWEEPS:
        for way, options in sweep.ways.items():
            for recovery, images in RECOVERIES.items():
                chosen = replace(options, recovery_images=images)
                yield from _levels(bench, sweep, way, recovery, chosen)


def _levels(
    bench: SurgeryBench, sweep: Sweep, way: str, recovery: str, options: SurgeryOptions
) -> Iterator[dict[str, Any]]:
    builder = bench.builder(options)
    for level in sweep.levels:
        candidate = choice(bench.network, {sweep.kind: level})
        if candidate == choice(bench.network, {}):
            continue
        yield {
            "part": "criteria",
            "network": bench.name,
            "axis": sweep.kind,
            "way": way,
            "recovery": recovery,
            "level": level,
            "accuracy": bench.accuracy(builder.build(candidate)),
            "trained": bench.trained,
            "images": len(bench.judged),
        }


def show_criteria(rows: Sequence[Mapping[str, Any]]) -> str:
    """One table per network and axis: ways down, levels across, each without and with recovery."""
    parts = []
    for network in dict.fromkeys(row["network"] for row in rows):
        for sweep in SWEEPS:
            own = [r for r in rows if (r["network"], r["axis"]) == (network, sweep.kind)]
            if own:
                parts.append(f"{network}, {sweep.title}:\n{_table(sweep, own)}")
    return "\n\n".join(parts)


def _table(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> str:
    found = {(r["way"], r["level"], r["recovery"]): r["accuracy"] for r in rows}
    levels = [level for level in sweep.levels if any(key[1] == level for key in found)]
    header = (
        sweep.title,
        *(f"{level:g}{', recovered' if each else ''}" for level in levels for each in (0, 1)),
    )
    body = [
        (way, *(f"{found[way, level, each]:.1%}" for level in levels for each in RECOVERIES))
        for way in sweep.ways
    ]
    return table(header, body)
