"""Whole searches by methods with an outcome, after earlier runs, and on the published split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_model import Cli, exit_code, write_checkpoint, write_config

from spikefront.search.report.run_files import RunFiles

PSVIT: dict[str, Any] = {
    "strategy": {"name": "psvit"},
    "space": {"granularity": "block", "levels": {"channel": [0.5, 0.75]}},
    "surgery": {},
}


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short NSGA-II run; nobody changes it."""
    folder = tmp_path_factory.mktemp("first")
    write_checkpoint(folder)
    assert exit_code(["search", str(write_config(folder))]) == 0
    return folder / "runs" / "first"


def front(run: Path) -> dict[str, Any]:
    return json.loads((run / "front.json").read_text())


def test_members_have_a_corrected_accuracy(first: Path):
    members = front(first)["members"]
    corrected = [member["accuracy_corrected"] for member in members]
    assert None not in corrected
    assert front(first)["method"] is None
    # Choosing flatters: it may only take something off.
    assert all(m["accuracy_corrected"] <= m["accuracy_search"] + 1e-12 for m in members)


def test_a_method_that_keeps_its_limit(tmp_path: Path, cli: Cli):
    write_checkpoint(tmp_path)
    sections = {**PSVIT, "constraints": {"max_drop": 0.9}, "budget": {"candidates": 30}}
    ran = cli("search", write_config(tmp_path, **sections))
    assert ran.code == 0, ran.err
    run = tmp_path / "runs" / "first"
    method = front(run)["method"]
    assert (method["name"], method["met"], method["finished"]) == ("psvit", True, True)
    model = method["model"]
    assert model["key"] == method["chosen"]
    assert (model["n_search"], model["n_test"]) == (400, 450)
    assert (run / model["path"] / "model.safetensors").exists()
    assert f"psvit chose {model['key']}, which keeps all limits. It has" in ran.out
    assert f"psvit chose {model['key']}" in (run / "report.html").read_text()
    assert cli("verify", run / model["path"]).code == 0


def test_a_chosen_model_off_the_front_is_tested_and_packed_too(tmp_path: Path, cli: Cli):
    """The limit of size is kept by something else, of which the method knows nothing."""
    write_checkpoint(tmp_path)
    sections = {**PSVIT, "constraints": {"max_drop": 0.9}, "budget": {"candidates": 30}}
    sections["objectives"] = ["accuracy", "bytes"]
    assert cli("search", write_config(tmp_path, **sections)).code == 0
    smallest = min(member["bytes"] for member in front(tmp_path / "runs" / "first")["members"])
    sections["constraints"] = {"max_drop": 0.9, "max_bytes": smallest - 1}
    ran = cli("search", write_config(tmp_path, "second", **sections))
    assert ran.code == 3
    run = tmp_path / "runs" / "second"
    record = front(run)
    method = record["method"]
    assert record["members"] == []
    assert (method["met"], method["chosen"]) == (False, method["model"]["key"])
    assert method["model"]["n_test"] == 450
    assert method["model"]["accuracy_corrected"] is None
    assert cli("verify", run / method["model"]["path"], "--no-data").code == 0
    report = (run / "report.html").read_text()
    assert f"psvit chose {method['chosen']}, which does not keep all limits" in report


def test_a_method_that_finds_nothing_has_no_model(tmp_path: Path, cli: Cli):
    """Nothing keeps a limit of nothing: not even a network that loses one image."""
    write_checkpoint(tmp_path)
    sections = {
        "strategy": {"name": "psvit"},
        "space": {"granularity": "block", "levels": {"channel": [0.25]}},
        "constraints": {"max_drop": 0.0, "max_bytes": 1},
        "budget": {"candidates": 2},
    }
    ran = cli("search", write_config(tmp_path, **sections), "--json")
    assert ran.code == 3
    method = front(tmp_path / "runs" / "first")["method"]
    assert not method["met"]
    assert not method["finished"]


def test_warm_start(first: Path, tmp_path: Path, cli: Cli):
    write_checkpoint(tmp_path)
    strategy = {"name": "tpe", "warm_start": [str(first)], "options": {"startup": 2}}
    ran = cli("search", write_config(tmp_path, strategy=strategy))
    assert ran.code == 0, ran.err
    earlier = [member["key"] for member in front(first)["members"]]
    assert f"Warm start: {len(earlier)} candidates of earlier runs come first." in ran.err
    ledger = (tmp_path / "runs" / "first" / "ledger.jsonl").read_text().splitlines()
    events = [json.loads(line)["e"] for line in ledger[1:]]
    suggested = [event["key"] for event in events if event["event"] == "suggested"]
    assert suggested[: len(earlier)] == earlier
    assert len(set(suggested)) == 8


def test_the_published_split_is_said_everywhere(tmp_path: Path, cli: Cli):
    """The same images twice: what is searched on is what is reported."""
    write_checkpoint(tmp_path)
    ran = cli("search", write_config(tmp_path), "--paper-split")
    assert ran.code == 0, ran.err
    assert "candidates are judged on the 450 test images themselves" in ran.err
    assert "Paper split: the search images are the test images" in ran.out
    run = tmp_path / "runs" / "first"
    record = front(run)
    assert record["paper_split"] is True
    for member in record["members"]:
        assert (member["n_search"], member["n_test"]) == (450, 450)
        assert member["accuracy_search"] == pytest.approx(member["accuracy_test"])
    assert record["parent"]["accuracy_search"] == record["parent"]["accuracy_test"]
    page = (run / "report.html").read_text()
    assert "searched on, too (paper split" in page
    assert "that the search never touched" not in page
    assert RunFiles.read(run).front.paper_split
    assert cli("verify", run / record["members"][0]["path"]).code == 0


def test_the_split_of_other_runs_is_their_own(first: Path):
    assert front(first)["paper_split"] is False
    assert "that the search never touched" in (first / "report.html").read_text()


def test_latency_as_an_objective(tmp_path: Path, cli: Cli):
    write_checkpoint(tmp_path)
    cluster = {"backend": "in-process", "window": 3, "ordered": False}
    objectives = ["accuracy", "latency_ms"]
    budget = {"candidates": 6, "patience": 6}
    config = write_config(tmp_path, cluster=cluster, objectives=objectives, budget=budget)
    assert cli("search", config).code == 0
    record = front(tmp_path / "runs" / "first")
    assert record["reference"]["latency_ms"] == record["parent"]["latency_ms"] > 0
    assert all(member["latency_ms"] > 0 for member in record["members"])
