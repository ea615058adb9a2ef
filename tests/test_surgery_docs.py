"""The page about surgery names every kind of site and every option."""

from __future__ import annotations

from pathlib import Path

from spikefront.spaces import DEFAULT_KINDS, SiteKind
from spikefront.spaces.surgery import ALLOWED

PAGE = (Path(__file__).parents[1] / "docs" / "surgery.md").read_text(encoding="utf-8")


def test_every_kind_is_in_the_table_with_whether_it_is_searched() -> None:
    rows = {
        line.split("|")[1].strip(): line for line in PAGE.splitlines() if line.startswith("| `")
    }
    for kind in SiteKind:
        searched = "yes" if kind in DEFAULT_KINDS else "no"
        assert rows[f"`{kind}`"].endswith(f"| {searched} |"), kind


def test_every_option_and_value_is_named() -> None:
    for option, values in ALLOWED.items():
        assert f"`{option}" in PAGE, option
        for value in values:
            assert f"`{value}`" in PAGE or f"`{option}: {value}`" in PAGE, (option, value)
