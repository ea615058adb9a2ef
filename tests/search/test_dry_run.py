"""What a search would do and cost, before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_model import Cli, Ran, write_checkpoint, write_config

from spikefront.search import Search
from spikefront.spaces import SiteKind
from spikefront.svtmodels.costs import static_costs


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def dry_run(folder: Path, cli: Cli, *options: str, **sections: Any) -> Ran:
    write_checkpoint(folder)
    ran = cli("search", write_config(folder, **sections), "--dry-run", *options)
    assert ran.code == 0, ran.err
    assert not (folder / "runs").exists()
    return ran


def test_text_names_axes_bytes_and_costs(tmp_path: Path, cli: Cli):
    ran = dry_run(tmp_path, cli)
    first, *rest = ran.out.splitlines()
    assert first == "4 axes, 686 points:"
    assert [line.split()[0] for line in rest] == [
        "channel",
        "token",
        "weight",
        "time",
        "bytes",
        "budget",
        "memory",
        "disk",
        "time",
    ]
    assert "8 candidates on 1 workers" not in ran.out
    assert "8 candidates on 1 worker" in ran.out


def test_record(tmp_path: Path, cli: Cli):
    levels = {"channel": [0.5], "weight": [2, 8], "token": [], "time": []}
    record = dry_run(
        tmp_path, cli, "--json", space={"granularity": "network", "levels": levels}
    ).record
    assert record["axes"] == {"channel": [0.5, 1.0], "weight": [2, 8, 32]}
    assert record["space_size"] == 6
    assert (record["candidates"], record["workers"]) == (8, 1)
    assert record["memory_mib"] > 0
    assert record["disk_mib"] > 0
    assert 0 < record["hours_at_most"] < 1


def test_bytes_range_holds_every_candidate(tmp_path: Path, cli: Cli):
    record = dry_run(tmp_path, cli, "--json").record
    plan = Search.from_config(tmp_path / "first.yaml").plan()
    low, high = record["bytes_range"]
    space = plan.space
    sizes = [
        static_costs(plan.model.network, space.decode(point)).bytes
        for point in ([0] * 4, space.full, [1, 2, 3, 1], [6, 0, 0, 0], [0, 6, 6, 1])
    ]
    assert min(sizes) == low
    assert max(sizes) == high
    assert record["bytes_parent"] == plan.model.bytes


def test_bytes_are_those_of_the_surgery(tmp_path: Path, cli: Cli):
    sizes = [
        dry_run(tmp_path, cli, "--json", surgery={"vectors": kind}).record["bytes_range"]
        for kind in ("float32", "float16")
    ]
    # Nothing of the trained network is quantised.
    assert sizes[1][0] < sizes[0][0]
    assert sizes[1][1] == sizes[0][1]


def test_limits_of_widths_reach_every_space(tmp_path: Path, cli: Cli):
    limits = {"granularity": "block", "minimum_width": 9, "width_multiple": 8}
    dry_run(tmp_path, cli, "--json", space=limits)
    plan = Search.from_config(tmp_path / "first.yaml").plan()
    chosen = set()
    for space in plan.spaces:
        lowest = space.decode([0] * len(space.axes))
        for site in plan.model.network.sites:
            if site.kind is SiteKind.CHANNEL and lowest.value(site) != site.size:
                chosen.add(lowest.value(site))
    assert chosen
    assert all(width >= 16 and width % 8 == 0 for width in chosen)


def test_hours_follow_budget_and_workers(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("spikefront.search.dry_run.seconds_per_image", lambda *_: 0.5)
    ray = {"backend": "ray", "workers": 4, "window": 8}
    one = dry_run(tmp_path, cli, "--json", budget={"candidates": 100}).record
    four = dry_run(tmp_path, cli, "--json", budget={"candidates": 100}, cluster=ray).record
    assert one["hours_at_most"] == pytest.approx(0.5 * 528 * 100 / 3600)
    assert four["hours_at_most"] == pytest.approx(one["hours_at_most"] / 4)
    assert four["workers"] == 4
    assert four["memory_mib"] > one["memory_mib"]


def test_options_count(tmp_path: Path, cli: Cli):
    ray = {"backend": "ray", "workers": 4}
    assert dry_run(tmp_path, cli, "--workers", "2", "--json", cluster=ray).record["workers"] == 2


@pytest.mark.parametrize(
    "sections",
    [
        {"strategy": {"options": {"heat": 1}}},
        {"data": {"name": "digits", "size": 16, "colour": 3}},
        {"model": {"checkpoint": "missing.safetensors"}},
    ],
)
def test_wrong_input_is_found(tmp_path: Path, cli: Cli, sections: dict[str, Any]):
    write_checkpoint(tmp_path)
    ran = cli("search", write_config(tmp_path, **sections), "--dry-run")
    assert (ran.code, ran.out) == (2, "")
    assert not (tmp_path / "runs").exists()
