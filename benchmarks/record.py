"""The file that a benchmark leaves: what was run, where, with what, and what came out."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from spikefront.search.run_folder import write_json

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("spikefront", "torch", "spikingjelly", "numpy")


def write_record(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    summary: Mapping[str, float],
    folder: Path = RESULTS,
    arguments: str = "",
) -> Path:
    """Write `<folder>/<name>.json`, whole or not at all.

    Args:
        name: of the benchmark; `make bench-<name>` runs it.
        rows: what was measured.
        summary: its figures by name.
        folder: where the file goes.
        arguments: that it was given, as they were written.

    Raises:
        RunFailed: the file cannot be written.
    """
    record = {
        "name": name,
        "command": f"make bench-{name}" + (f' ARGUMENTS="{arguments}"' if arguments else ""),
        "machine": machine(),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in _PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": list(rows),
        "summary": dict(summary),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    write_json(path, record)
    return path


def machine() -> dict[str, Any]:
    """Processor, cores, threads in use, and the load that the machine was under."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load_1_minute": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
