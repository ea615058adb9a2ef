"""The page about workers: the table of the record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TEXT = """# Workers, measured

    {command}

wrote this on {date}: {processor}, {cores} cores, load {load} when it ended. Evaluations in full of
{candidates} candidates on {images} search images, surgery looked up, medians of {rounds} rounds in
turn. Images per second are by the clock, over all processes, so that what else runs on the machine
counts; CPU is what the processes themselves took, user and kernel.

A worker of the Ray backend is the first line of each table: one process per core, one thread, with
all variables of [`worker_environment.py`](../cluster/worker_environment.py). *Waiting* is
`OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0` (threads that wait sleep), *allocator* is
`MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8589934592` (freed memory is kept).
"""
_HEADER = """| processes x threads | without | images/s | of the default | CPU ms per image |
| --- | --- | --: | --: | --: |
"""


def page(record: Mapping[str, Any]) -> str:
    """Markdown of a record of `make bench-workers`."""
    rows = record["rows"]
    head = _TEXT.format(
        command=record["command"],
        date=record["date"][:10],
        processor=record["machine"]["processor"],
        cores=record["machine"]["cores"],
        load=record["machine"]["load_1_minute"],
        candidates=rows[0]["candidates"],
        images=max(row["images"] for row in rows),
        rounds=len(rows[0]["images_per_second_rounds"]),
    )
    parts = [head]
    for network in dict.fromkeys(row["network"] for row in rows):
        lines = (_line(row) for row in rows if row["network"] == network)
        parts.append(f"## {network}\n\n{_HEADER}{''.join(lines)}")
    return "\n".join(parts)


def write_page(record: Path, path: Path) -> Path:
    """Write the page of a record."""
    path.write_text(page(json.loads(record.read_text(encoding="utf-8"))), encoding="utf-8")
    return path


def _line(row: Mapping[str, Any]) -> str:
    return (
        f"| {row['processes']} x {row['threads']} | {row['without']} "
        f"| {row['images_per_second']:.0f} | {row['of_default']:.2f} "
        f"| {row['cpu_ms_per_image']:.2f} |\n"
    )
