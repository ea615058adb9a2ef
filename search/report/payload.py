"""What the page's script gets: one JSON object, safe inside HTML."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from .clouds import Cloud
from .entries import Entry
from .evaluation_table import EvaluationTable
from .formats import EnergyUnit
from .plot import Plot
from .ramp import STEPS
from .run_files import RunFiles

_PARENT_FIELDS = {
    "name",
    "accuracy_search",
    "accuracy_test",
    "bytes",
    "synops",
    "energy_mj",
    "time_steps",
}
_DIGITS = 5
"""Significant digits of faint points: a 5,000-image accuracy keeps its value."""


def page_payload(run: RunFiles, plot: Plot, entries: list[Entry], unit: EnergyUnit) -> str:
    """JSON text for a ``<script type="application/json">``."""
    parent = run.front.parent
    return embed_json(
        {
            "feasible": bool(run.front.members),
            "first": None if run.front.headline is None else run.front.headline.key,
            "parent": parent.model_dump(include=_PARENT_FIELDS),
            "sites": [
                [site.kind, site.name, site.size, site.block, site.stage] for site in parent.sites
            ],
            "entries": entries,
            "energy": {
                "low": plot.energy[0],
                "high": plot.energy[1],
                "steps": STEPS,
                "unit": unit.name,
                "perMj": unit.per_mj,
            },
            "x": {name: scale.to_dict() for name, scale in plot.x.items()},
            "y": {name: scale.to_dict() for name, scale in plot.y.items()},
            "stairs": plot.stairs,
            "limit": {"accuracy": plot.limit, "bytes": run.front.limits.bytes},
            "clouds": {
                name: _points(cloud, run.table) for name, cloud in plot.clouds.placed.items()
            },
            "rug": _points(plot.clouds.rug, run.table),
            "totals": {
                name: cloud.total
                for name, cloud in (*plot.clouds.placed.items(), ("rug", plot.clouds.rug))
            },
        }
    )


def embed_json(data: Any) -> str:
    """JSON that no HTML parser can see the end of: markup characters are escaped."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _points(cloud: Cloud, table: EvaluationTable) -> dict[str, list[Any]]:
    rows = cloud.rows
    return {
        "number": [int(number) for number in np.nan_to_num(table.number[rows])],
        "bytes": [int(size) for size in table.bytes[rows]],
        "accuracy": _rounded(table.accuracy[rows]),
        "energy": _rounded(table.energy_mj[rows]),
        "ended": table.rejected_by[rows].tolist(),
    }


def _rounded(values: np.ndarray) -> list[float | None]:
    return [float(f"{v:.{_DIGITS}g}") if np.isfinite(v) else None for v in values]
