"""The rows of the report's table: members of the front or, if there are none, nearest misses."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from ...evaluators.evaluation import Stage, State
from ...spaces.errors import CorruptFile
from ...spaces.site import SiteKind
from .evaluation_table import EvaluationTable
from .front_schema import CandidateDict, Member, Parent
from .run_files import RunFiles

MAX_MISSES = 10
"""Nearest misses that are listed when nothing is feasible."""

Entry = dict[str, Any]


def table_entries(run: RunFiles) -> list[Entry]:
    """JSON-ready rows, smallest member (or nearest miss) first."""
    if run.front.members:
        members = sorted(run.front.members, key=lambda m: (m.bytes, m.key))
        return [_member_entry(run, member) for member in members]
    return [_miss_entry(run.table, row, run.front.parent) for row in nearest_misses(run.table)]


def nearest_misses(table: EvaluationTable) -> list[int]:
    """Rows of what came closest to the constraints, measured in full first, then by violation.

    Violations of different stages are not of one kind: a drift says less than an accuracy.
    """
    missed = np.isin(table.state, [State.INFEASIBLE.value, State.REJECTED.value])
    rows = np.flatnonzero(missed & (np.nan_to_num(table.bytes) > 0))
    # A violation of 0 means "not known" here: nothing that missed is without one.
    violation = np.where(table.violation[rows] > 0, table.violation[rows], np.inf)
    accuracy = np.nan_to_num(table.accuracy[rows], nan=-1.0)
    unfinished = table.stage[rows] != Stage.FULL.value
    order = np.lexsort((table.number[rows], -accuracy, violation, unfinished))
    return rows[order][:MAX_MISSES].tolist()


def time_steps(candidate: CandidateDict, parent: Parent) -> int:
    """Time steps that a candidate runs."""
    return min(candidate.get(SiteKind.TIME.value, {}).values(), default=parent.time_steps)


def mean_bits(candidate: CandidateDict, parent: Parent) -> float | None:
    """Mean bit-width over the weight tensors, each counted once; None without any."""
    chosen = candidate.get(SiteKind.WEIGHT.value, {})
    bits = [
        chosen.get(site.name, site.size)
        for site in parent.sites
        if site.kind == SiteKind.WEIGHT.value
    ]
    return sum(bits) / len(bits) if bits else None


def _member_entry(run: RunFiles, member: Member) -> Entry:
    parent = run.front.parent
    difference = None
    if member.accuracy_test is not None and parent.accuracy_test is not None:
        difference = member.accuracy_test - parent.accuracy_test
    return {
        "key": member.key,
        "candidate": member.candidate,
        "accuracy": member.accuracy_search,
        "corrected": member.accuracy_corrected,
        "accuracyTest": member.accuracy_test,
        "difference": difference,
        "interval": member.test_interval,
        "bytes": member.bytes,
        "ratio": member.bytes_ratio,
        "energy": member.energy_mj,
        "synops": member.synops,
        "steps": time_steps(member.candidate, parent),
        "bits": mean_bits(member.candidate, parent),
        "path": member.path,
        "packed": member.key in run.manifests,
    }


def _miss_entry(table: EvaluationTable, row: int, parent: Parent) -> Entry:
    candidate = _parse_candidate(str(table.candidate[row]), str(table.key[row]))
    rejected = table.state[row] == State.REJECTED.value
    return {
        "key": str(table.key[row]),
        "candidate": candidate,
        "accuracy": _known(table.accuracy[row]),
        "drop": _known(table.drop[row]),
        "bytes": _known(table.bytes[row]),
        "ratio": _known(table.bytes_ratio[row]),
        "energy": _known(table.energy_mj[row]),
        "violation": _known(table.violation[row]) or None,
        "state": str(table.state[row]),
        "stage": str(table.rejected_by[row] if rejected else table.stage[row]),
        "value": _known(table.rejection_value[row]) if rejected else None,
        "threshold": _known(table.rejection_threshold[row]) if rejected else None,
        "steps": time_steps(candidate, parent),
        "bits": mean_bits(candidate, parent),
    }


def _parse_candidate(text: str, key: str) -> CandidateDict:
    try:
        candidate = json.loads(text)
        return {
            str(kind): {str(name): int(value) for name, value in named.items()}
            for kind, named in candidate.items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise CorruptFile(
            f"evaluations.parquet: candidate of {key} is no {{kind: {{site: value}}}} ({error})."
        ) from error


def _known(value: np.float64) -> float | None:
    return float(value) if math.isfinite(value) else None
