"""The sections below the pictures: outcomes, gate audit, energy and run facts, as HTML."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np

from ...evaluators.evaluation import Stage, State
from ..method_outcome import method_sentence
from .evaluation_table import EvaluationTable
from .formats import format_count, format_percent, significant
from .front_schema import Front, Parent
from .run_files import RunFiles

_OUTCOMES = (
    ("complete", "Complete", "measured in full, within all constraints"),
    ("rejected", "Rejected", "ended early by a stage"),
    ("infeasible", "Infeasible", "known to violate a constraint"),
    ("failed", "Failed", "the evaluation raised an error"),
    ("lost", "Lost", "its worker died and no attempt was left"),
    ("quarantined", "Quarantined", "took down several workers"),
    ("probed", "Probed", "asked for signals alone, judged by nothing"),
)


def outcomes(front: Front, table: EvaluationTable) -> str:
    """Table of how the candidates ended, with shares as bars."""
    counts = front.counts
    total = max(sum(getattr(counts, name) for name, _, _ in _OUTCOMES), 1)
    rows: list[str] = []
    for name, title, meaning in _OUTCOMES:
        count = getattr(counts, name)
        if name == "probed" and not count:
            continue
        rows.append(_outcome_row(title, meaning, count, count / total))
        if name == "rejected":
            rows += [
                _outcome_row(f"by {stage}", "", by_stage, by_stage / total, "sub")
                for stage, by_stage in _rejected_by_stage(table)
            ]
    if counts.hits is not None:
        rows.append(_outcome_row("Hits", "suggested again, already known", counts.hits))
    rows.append(_outcome_row("Duplicates", "a result that arrived twice", counts.duplicates))
    rows.append(_outcome_row("Image evaluations", "forward passes", counts.image_evaluations))
    return f'<table class="outcomes">{"".join(rows)}</table>'


def gate_audit(front: Front, table: EvaluationTable) -> str:
    """How right the gate was, on the audited sample."""
    audit = front.gate_audit
    if audit is None:
        audited = int(np.nansum(table.audited))
        return f"<p>No audit is recorded ({format_count(audited)} candidates were audited).</p>"
    audited = int(np.nansum(table.audited)) if audit.audited is None else audit.audited
    rows = (
        ("Audited", format_count(audited), "evaluated in full, whatever the gate said"),
        ("Would reject", _count(audit.rejected), "of the audited"),
        ("Precision", _share(audit.precision), "of those, truly not worth having"),
        ("Recall", _share(audit.recall), "of what was not worth having, caught by it"),
        (
            "Rank correlation",
            _number(audit.rank_correlation),
            "Spearman, drift against accuracy; −1 is a perfect gate",
        ),
        (
            "The same of divergence",
            _number(audit.rank_correlation_kl),
            "of predictions from the trained network's",
        ),
    )
    return _facts(rows)


def energy(parent: Parent) -> str:
    """Tell the cost preset and its formula in words."""
    preset = parent.preset
    formula = f"<p>{escape(parent.energy_formula)}</p>" if parent.energy_formula else ""
    mac = "" if preset.mac_pj is None else f" ({significant(preset.mac_pj)} pJ)"
    ac = "" if preset.ac_pj is None else f" ({significant(preset.ac_pj)} pJ)"
    return (
        f"<p>Preset <strong>{escape(preset.name)}</strong>. The energy of one image is the "
        f"number of multiply-accumulates on real-valued inputs times the energy of one{mac}, "
        f"plus the number of synaptic operations times the energy of one accumulate{ac}.</p>"
        "<p>Synaptic operations are counted on the spikes that really occur: an integer spike "
        "of n counts as n accumulates. The first layer is charged as multiply-accumulates, once "
        "per distinct input, and the scoring of tokens is charged as well. It is an estimate of "
        "arithmetic, no measurement of a device.</p>"
        f"{formula}"
    )


def run_facts(run: RunFiles) -> str:
    """List what the run was, and everything else that front.json says about it."""
    front, parent = run.front, run.front.parent
    facts: list[tuple[str, str, str]] = [
        ("Run", run.name, ""),
        ("Parent", f"{parent.name} ({parent.architecture})", ""),
        ("Parent’s accuracy", _accuracies(front), "search split, test split"),
        ("Parent’s parameters", _count(parent.parameters), ""),
        ("Images, search split", _count(_search_images(front)), ""),
        ("Images, test split", _count(parent.n_test), _test_note(front)),
        ("Candidates", format_count(len(run.table)), "in the table of evaluations"),
        ("Hypervolume", _number(front.hypervolume), _reference(front.reference)),
    ]
    facts += [(name, value, "") for name, value in _flat(parent.model_extra or {}, "Parent’s ")]
    facts += [(name, value, "") for name, value in _flat(front.model_extra or {})]
    return _facts(facts)


def method(front: Front) -> str:
    """What the strategy's method came to, as a paragraph; nothing where the front is all."""
    if front.method is None:
        return ""
    return f'<p class="note">{escape(method_sentence(front.method.model_dump()))}</p>'


def _test_note(front: Front) -> str:
    return "searched on, too (paper split)" if front.paper_split else "touched once, at the end"


def _search_images(front: Front) -> int | None:
    if front.parent.n_search is not None:
        return front.parent.n_search
    return max((member.n_search for member in front.members), default=None)


def _rejected_by_stage(table: EvaluationTable) -> list[tuple[str, int]]:
    rejected = table.rejected_by[table.state == State.REJECTED.value]
    counted = ((stage.value, int(np.sum(rejected == stage.value))) for stage in Stage)
    return [(stage, count) for stage, count in counted if count]


def _outcome_row(
    title: str, meaning: str, count: int, share: float | None = None, style: str = ""
) -> str:
    bar = f'<i style="width:{share * 100:.2f}%"></i>' if share else ""
    percent = "" if share is None else format_percent(share)
    note = f"<small>{meaning}</small>" if meaning else ""
    return (
        f'<tr class="{style}"><th scope="row">{escape(title)}{note}</th>'
        f"<td>{format_count(count)}</td><td>{percent}</td><td><div>{bar}</div></td></tr>"
    )


def _facts(rows: Iterable[tuple[str, str, str]]) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(title)}</th><td>{escape(value)}'
        + (f"<small>{escape(note)}</small>" if note else "")
        + "</td></tr>"
        for title, value, note in rows
    )
    return f'<table class="facts">{body}</table>'


def _flat(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        else:
            yield name[:1].upper() + name[1:].replace("_", " "), str(value)


def _accuracies(front: Front) -> str:
    parent = front.parent
    test = (
        "not measured" if parent.accuracy_test is None else format_percent(parent.accuracy_test, 2)
    )
    return f"{format_percent(parent.accuracy_search, 2)}, {test}"


def _reference(reference: dict[str, float] | list[float] | None) -> str:
    if reference is None:
        return ""
    if not isinstance(reference, dict):
        return f"against the reference point {reference}"
    return "against " + ", ".join(f"{name} {value:,.10g}" for name, value in reference.items())


def _share(value: float | None) -> str:
    return "unknown" if value is None else format_percent(value)


def _number(value: float | None) -> str:
    return "unknown" if value is None else significant(value)


def _count(value: int | None) -> str:
    return "unknown" if value is None else format_count(value)
