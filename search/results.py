"""What a search leaves: the table of all candidates and the front's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..evaluators.evaluation import Evaluation, Stage, State
from ..spaces.errors import RunFailed
from .controller import Counts
from .front import Front
from .gate import GateAudit

SCHEMA = 1
"""Of front.json."""

_MEASURES = (
    "bytes",
    "bytes_ratio",
    "bytes_container",
    "parameters",
    "macs",
    "state_bytes",
    "drift",
    "drift_last",
    "flips",
    "flips_last",
    "kl",
    "disagreement",
    "accuracy",
    "n_search",
    "drop",
    "cross_entropy",
    "synops",
    "energy_mj",
    "energy_literature_mj",
)


def write_evaluations(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write the table of all candidates, one row each in order of commit.

    Raises:
        RunFailed: no space left, or the folder is not writable.
    """
    columns: dict[str, list[Any]] = {
        "number": list(range(len(evaluations))),
        "key": [e.key for e in evaluations],
        "candidate": [e.candidate.to_json() for e in evaluations],
        "state": [e.state.value for e in evaluations],
        "stage": [e.stage.value for e in evaluations],
        "rejected_by": [e.rejection and e.rejection.stage.value for e in evaluations],
        "rejection_value": [e.rejection and float(e.rejection.value) for e in evaluations],
        "rejection_threshold": [e.rejection and float(e.rejection.threshold) for e in evaluations],
        "violation": [e.violation for e in evaluations],
        "audited": [e.audited for e in evaluations],
        "gate_version": [e.gate_version for e in evaluations],
        "image_evaluations": [e.image_evaluations for e in evaluations],
        "seconds": [float(e.timing.get("total", 0.0)) for e in evaluations],
        "latency_ms": [_number(e.timing.get("latency_ms")) for e in evaluations],
        "error": [e.error for e in evaluations],
    }
    for name in _MEASURES:
        columns[name] = [_number(e.measures.get(name)) for e in evaluations]
    temporary = path.with_name(path.name + ".tmp")
    try:
        pq.write_table(pa.table(columns, schema=_schema(columns)), temporary)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise RunFailed(f"cannot write {path}: {error}; see to that and resume.") from None


def front_record(
    front: Front,
    parent: Mapping[str, Any],
    members: Sequence[Mapping[str, Any]],
    reference: Mapping[str, float],
    counts: Counts,
    gate: GateAudit,
    limits: Mapping[str, float | int | None],
    *,
    method: Mapping[str, Any] | None = None,
    paper_split: bool = False,
) -> dict[str, Any]:
    """Contents of front.json.

    Args:
        front: after the search.
        parent: what is known of the trained network.
        members: `member_record` of each member, in order of the front.
        reference: point of the hypervolume.
        counts: what became of all candidates.
        gate: how the gate did.
        limits: largest drop and bytes, None where there is none.
        method: its name, `Strategy.outcome`, and `member_record` of the model that it chose;
            None where the front is all.
        paper_split: whether the search images are the test images.
    """
    return {
        "schema": SCHEMA,
        "parent": dict(parent),
        "members": [dict(member) for member in members],
        "method": method,
        "paper_split": paper_split,
        "hypervolume": front.hypervolume(reference),
        "reference": dict(reference),
        "counts": counts.to_dict(),
        "rejected_by": {stage.value: n for stage, n in counts.rejected_by.items() if n},
        "gate_audit": asdict(gate),
        "limits": dict(limits),
    }


def member_record(
    member: Evaluation,
    test: Evaluation | None,
    container: int | None,
    corrected: float | None = None,
) -> dict[str, Any]:
    """One member as front.json holds it; `test_interval` is member minus parent, 95 %.

    Args:
        member: evaluation on the search split.
        test: evaluation on the test split; None: there was none.
        container: bytes of the packed folder.
        corrected: search accuracy without what choosing by it has added (`selection`).
    """
    measures = member.measures
    tested = test.measures if test is not None else {}
    interval = None
    if "drop_low" in tested:
        interval = [-tested["drop_high"], -tested["drop_low"]]
    return {
        "key": member.key,
        "candidate": member.candidate.to_dict(),
        "accuracy_search": measures["accuracy"],
        "accuracy_corrected": corrected,
        "accuracy_test": tested.get("accuracy_test"),
        "n_search": int(measures["n_search"]),
        "n_test": int(tested["n_test"]) if "n_test" in tested else None,
        "test_difference": 0.0 - tested["drop_test"] if "drop_test" in tested else None,
        "test_interval": interval,
        "bytes": int(measures["bytes"]),
        "bytes_ratio": measures["bytes_ratio"],
        "bytes_container": container,
        "parameters": int(measures["parameters"]),
        "macs": int(measures["macs"]),
        "state_bytes": measures.get("state_bytes"),
        "latency_ms": measures.get("latency_ms"),
        "synops": measures["synops"],
        "energy_mj": measures["energy_mj"],
        "energy_literature_mj": measures["energy_literature_mj"],
        "drift": measures["drift"],
        "path": f"members/{member.key}",
    }


def nearest_misses(evaluations: Sequence[Evaluation], count: int = 5) -> list[Evaluation]:
    """Candidates that came closest to meeting the constraints, measured in full first."""
    judged = [e for e in evaluations if e.state is not State.PROBED]
    missed = [e for e in judged if not e.feasible and "bytes" in e.measures]
    return sorted(missed, key=lambda e: (e.stage is not Stage.FULL, e.violation, e.key))[:count]


def miss_record(evaluation: Evaluation) -> dict[str, Any]:
    """A near miss, JSON-ready."""
    record = evaluation.to_dict()
    return {name: record[name] for name in ("key", "candidate", "state", "violation", "measures")}


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _schema(columns: Mapping[str, Any]) -> pa.Schema:
    whole = {"number", "gate_version", "image_evaluations"}
    text = {"key", "candidate", "state", "stage", "rejected_by", "error"}

    def kind(name: str) -> pa.DataType:
        if name in whole:
            return pa.int64()
        if name in text:
            return pa.string()
        return pa.bool_() if name == "audited" else pa.float64()

    return pa.schema([(name, kind(name)) for name in columns])
