"""What `search` and `resume` print at the end."""

from __future__ import annotations

from pathlib import Path

from ..search import SearchResult
from .table import front_table
from .verb import Result


def outcome(result: SearchResult) -> Result:
    """Table of the front and the paths of what was left."""
    record = result.record
    counts = record["counts"]
    rejected = ", ".join(f"{n} by {stage}" for stage, n in record["rejected_by"].items())
    evaluated = sum(counts[state] for state in ("complete", "rejected", "infeasible"))
    troubles = [f"{counts[s]} {s}" for s in ("failed", "lost", "quarantined") if counts[s]]
    lines = [
        front_table(record),
        "",
        f"{evaluated} candidates: {counts['complete']} complete, {counts['infeasible']} "
        f"infeasible, {counts['rejected']} rejected{f' ({rejected})' if rejected else ''}"
        + "".join(f", {trouble}" for trouble in troubles)
        + f"; {counts['image_evaluations']:,} image evaluations.",
        f"Energy: {record['parent']['energy_formula']}.",
        "",
        *(f"{what:<12}{path}" for what, path in _paths(result.folder)),
    ]
    return Result("\n".join(lines), {**record, "folder": str(result.folder)})


def _paths(folder: Path) -> list[tuple[str, Path]]:
    named = [
        ("report", folder / "report.html"),
        ("front", folder / "front.json"),
        ("models", folder / "members"),
        ("candidates", folder / "evaluations.parquet"),
        ("ledger", folder / "ledger.jsonl"),
        ("MLflow", folder / "mlflow.db"),
    ]
    return [(what, path) for what, path in named if path.exists()]
