"""Plain text tables, and the table of a front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be; the first one to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [_line(header, widths), "  ".join("-" * width for width in widths)]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def front_table(record: Mapping[str, Any]) -> str:
    """Members of a front.json, the parent first."""
    header = ("model", "bytes", "of parent", "search", "test", "test difference (95 %)", "energy")
    parent = record["parent"]
    rows = [
        (
            f"{parent['name']} (trained)",
            f"{parent['bytes']:,}",
            "100.0 %",
            _percent(parent["accuracy_search"]),
            _percent(parent["accuracy_test"]),
            "",
            _energy(parent["energy_mj"]),
        )
    ]
    rows += [
        (
            member["key"],
            f"{member['bytes']:,}",
            f"{100 * member['bytes_ratio']:.1f} %",
            _percent(member["accuracy_search"]),
            _percent(member["accuracy_test"]),
            _difference(member),
            _energy(member["energy_mj"]),
        )
        for member in record["members"]
    ]
    return table(header, rows)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "  ".join([first, *rest]).rstrip()


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _energy(value: float | None) -> str:
    return "-" if value is None else f"{1000 * value:.3f} uJ"


def _difference(member: Mapping[str, Any]) -> str:
    if member["test_interval"] is None:
        return "-"
    low, high = (100 * value for value in member["test_interval"])
    return f"{100 * member['test_difference']:+.2f} [{low:+.2f}, {high:+.2f}]"
