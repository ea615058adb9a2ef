"""What `search` and `resume` print at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..method_outcome import method_sentence
from ..search import SearchResult
from .table import front_table
from .verb import Result

_PAPER_SPLIT = (
    "Paper split: the search images are the test images, as in the published methods; the test "
    "accuracies flatter whatever was chosen by them."
)


def outcome(result: SearchResult) -> Result:
    """Table of the front and the paths of what was left."""
    record = result.record
    counts = record["counts"]
    rejected = ", ".join(f"{n} by {stage}" for stage, n in record["rejected_by"].items())
    evaluated = sum(counts[state] for state in ("complete", "rejected", "infeasible"))
    notes = [
        *map(_selection_note, record["members"][:1]),
        *([_PAPER_SPLIT] if record["paper_split"] else []),
        *([method_sentence(record["method"])] if record["method"] is not None else []),
    ]
    probes = [f"{counts['probed']} probed"] if counts["probed"] else []
    troubles = [f"{counts[s]} {s}" for s in ("failed", "lost", "quarantined") if counts[s]]
    lines = [
        front_table(record),
        *notes,
        "",
        f"{evaluated} candidates: {counts['complete']} complete, {counts['infeasible']} "
        f"infeasible, {counts['rejected']} rejected{f' ({rejected})' if rejected else ''}"
        + "".join(f", {each}" for each in probes + troubles)
        + f"; {counts['image_evaluations']:,} image evaluations.",
        _gate_line(record["gate_audit"]),
        f"Energy: {record['parent']['energy_formula']}.",
        "",
        *(f"{what:<12}{path}" for what, path in _paths(result.folder)),
    ]
    return Result("\n".join(lines), {**record, "folder": str(result.folder)})


def _gate_line(audit: Mapping[str, Any]) -> str:
    """What evaluations in full, of candidates that the gate judged, say of the gate."""

    def share(name: str) -> str:
        return "-" if audit[name] is None else f"{100 * audit[name]:.0f} %"

    def rank(name: str) -> str:
        return "-" if audit[name] is None else f"{audit[name]:.2f}"

    return (
        f"Gate: {audit['audited']} candidates audited, {audit['rejected']} of them rejected by it; "
        f"precision {share('precision')}, recall {share('recall')}. Rank correlation with "
        f"accuracy: drift {rank('rank_correlation')}, divergence {rank('rank_correlation_kl')}."
    )


def _selection_note(smallest: Mapping[str, Any]) -> str:
    text = "Search accuracies flatter: the members were chosen by them."
    corrected = smallest["accuracy_corrected"]
    if corrected is None:
        return text
    return f"{text} Without that, {smallest['key']} has {100 * corrected:.2f} %."


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
