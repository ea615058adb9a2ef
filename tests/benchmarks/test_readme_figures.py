"""The README shows the figures of the committed record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.search_page import page as search_page
from benchmarks.surgery_page import page
from benchmarks.workers_page import page as workers_page

ROOT = Path(__file__).parents[2]


def test_table_of_networks_is_the_record() -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "networks.json").read_text())
    shown = (ROOT / "README.md").read_text()
    for row in record["rows"]:
        cells = [row["network"], f"{row['parameters'] / 1e6:.2f} M", row["T"], row["pixels"]]
        cells.append(f"{row['images_per_second']:.1f}")
        if "times_faster" in row:
            low, high = row["times_faster_quartiles"]
            cells.append(f"{row['spikingjelly_images_per_second']:.1f}")
            cells.append(f"{row['times_faster']:.2f} [{low:.2f}, {high:.2f}]")
        else:
            cells += ["-", "-"]
        assert f"| {' | '.join(map(str, cells))} |" in shown


def test_the_page_of_surgery_is_the_record() -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "surgery.json").read_text())
    assert (ROOT / "docs" / "surgery-results.md").read_text() == page(record)


def test_the_page_of_whole_searches_is_the_record() -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "search.json").read_text())
    assert (ROOT / "docs" / "search-results.md").read_text() == search_page(record)


def test_the_page_of_workers_is_the_record() -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "workers.json").read_text())
    assert (ROOT / "docs" / "workers-results.md").read_text() == workers_page(record)


def test_the_table_of_speed_is_the_records() -> None:
    shown = (ROOT / "README.md").read_text()

    def record(name: str) -> dict[str, Any]:
        return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())

    speed = [row for row in record("engine")["rows"] if row["part"] == "speed"]
    full = [row["times_faster"] for row in speed if row["bits"] == 32]
    few = [row["times_faster"] for row in speed if row["bits"] < 32]
    rows = record("engine")["rows"]
    other = [row["times_faster"] for row in rows if row["part"] == "spikingjelly"]
    for ratios in (full, few, other):
        assert f"| {min(ratios):.1f} to {max(ratios):.1f} times |" in shown
    strategies = record("strategies")["summary"]
    digits, pair = (
        strategies[f"spikformer-{name}: times fewer images"] for name in ("digits", "cifar10")
    )
    assert f"| {digits:.1f} and {pair:.1f} times fewer |" in shown
    known = [row for row in record("suggest")["rows"] if row["strategy"] == "joint"]
    assert (known[-1]["axes"], known[-1]["evaluations"]) == (100, 10_000)
    assert f"| {known[-1]['milliseconds_so_far']:.0f} ms | `make bench-suggest` |" in shown
    images = record("order")["summary"]
    learned, before = images["median images: learned"], images["median images: independent draws"]
    assert f"| {learned:.0f}, not {before:.0f} |" in shown
    prefix = record("prefix")["summary"]
    greedy, pruned = (prefix[f"spikformer-cifar10, {m}"] for m in ("AQ4SViT greedy", "PrimeSVT"))
    assert f"| {greedy:.1f} and {pruned:.1f} times |" in shown
    whole = record("search")["summary"]["times faster, same hypervolume"]
    assert f"| {whole:.0f} times | [`make bench-search`]" in shown
    alone = [r for r in record("workers")["rows"] if r["processes"] == 1]
    shares = [r["of_default"] for r in alone if r["without"] == "nothing"]
    digits, cifar = (1 / share for share in shares)
    assert f"| {digits:.1f} and {cifar:.1f} times | [`make bench-workers`]" in shown
