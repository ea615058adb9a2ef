"""Builds the report of a run from the files in its folder."""

from __future__ import annotations

import base64
import hashlib
import os
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from ...spaces.errors import RunFailed
from . import sections
from .entries import table_entries
from .formats import EnergyUnit, format_count
from .payload import page_payload
from .plot import Plot, build_plot
from .ramp import ramp_css
from .result_sentence import result_sentence
from .run_files import RunFiles
from .static_picture import draw_front

_SCRIPTS = (
    "dom.js",
    "format.js",
    "scatter.js",
    "hover.js",
    "legend.js",
    "table.js",
    "layers.js",
    "main.js",
)


def build_report(run_folder: Path) -> Path:
    """Write ``report.html`` into a run's folder and return its path.

    Only files of the folder are read. The page is one file: it loads nothing and asks nobody.
    An earlier report stays whole until the new one takes its place.

    Raises:
        BadInput: the folder or one of front.json, evaluations.parquet, config.yaml is missing.
        CorruptFile: one of them does not hold what it must.
        RunFailed: the page cannot be written.
    """
    page = _page(RunFiles.read(run_folder))
    path = run_folder / "report.html"
    temporary = run_folder / f".report.html.{os.getpid()}.tmp"
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise RunFailed(f"{path}: cannot be written ({error}).") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def front_svg(run_folder: Path) -> str:
    """Draw the report's scatter as a standalone SVG without a script.

    Raises:
        BadInput: as `build_report`.
        CorruptFile: as `build_report`.
    """
    run = RunFiles.read(run_folder)
    plot = build_plot(run.front, run.table)
    return draw_front(run.front, run.table, plot, _energy_unit(plot))


def _page(run: RunFiles) -> str:
    front, table = run.front, run.table
    plot = build_plot(front, table)
    script = _script()
    return Template(_asset("report.html")).substitute(
        policy=_policy(script),
        style=_style(),
        title=escape(run.name),
        parent=escape(front.parent.name),
        architecture=escape(front.parent.architecture),
        result=result_sentence(front),
        method=sections.method(front),
        shown=_shown(plot),
        entries_title="Members of the front" if front.members else "Nearest misses",
        outcomes=sections.outcomes(front, table),
        gate_audit=sections.gate_audit(front, table),
        energy=sections.energy(front.parent),
        run_facts=sections.run_facts(run),
        config=escape(run.config_text),
        data=page_payload(run, plot, table_entries(run), _energy_unit(plot)),
        script=script,
    )


def _policy(script: str) -> str:
    """Content policy: nothing is loaded, and no other script than ours is run."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )


def _script() -> str:
    body = "\n".join(_asset(name) for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}}})();\n'


def _style() -> str:
    light, dark = ramp_css(dark=False), ramp_css(dark=True)
    return (
        f"{_asset('report.css')}\n:root{{{light}}}\n"
        f"@media (prefers-color-scheme: dark){{:root{{{dark}}}}}"
    )


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _shown(plot: Plot) -> str:
    clouds = plot.clouds
    if clouds.shown == clouds.total:
        return f"All {format_count(clouds.total)} candidates off the front are drawn."
    return (
        f"{format_count(clouds.shown)} of {format_count(clouds.total)} candidates off the front "
        "are drawn: all of the nearest to the front and to the limits, the rest thinned on a grid."
    )


def _energy_unit(plot: Plot) -> EnergyUnit:
    return EnergyUnit.fitting(float(np.mean(plot.energy)))
