"""The first thing that a user does: a short search from the zoo's network, on its real digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_model import Cli, exit_code, write_checkpoint, write_config

ZOO = {
    "model": {"zoo": "spikformer-digits"},
    "data": {"name": "digits"},
    # Few and small: the identity, which is always tried, takes longer than all others.
    "space": {
        "granularity": "network",
        "levels": {"channel": [0.25, 0.5], "token": [0.5], "weight": [4, 8], "time": [1]},
    },
}


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    assert exit_code(["search", str(write_config(folder, **ZOO))]) == 0
    return folder / "runs" / "first"


def front(run: Path) -> dict[str, Any]:
    return json.loads((run / "front.json").read_text())


def test_the_trained_network_is_accurate_and_is_tried_first(run: Path):
    record = front(run)
    assert record["parent"]["name"] == "spikformer-digits"
    assert record["parent"]["accuracy_test"] > 0.95
    lines = (run / "ledger.jsonl").read_text().splitlines()
    first = next(e for line in lines[1:] if (e := json.loads(line)["e"])["event"] == "evaluated")
    assert first["evaluation"]["candidate"] == {}
    assert first["evaluation"]["measures"]["drop"] == 0
    assert first["evaluation"]["measures"]["drift"] == 0
    assert first["evaluation"]["measures"]["accuracy"] == record["parent"]["accuracy_search"]


def test_a_much_smaller_network_is_found(run: Path):
    smallest = front(run)["members"][0]
    assert smallest["bytes_ratio"] < 0.3
    assert smallest["n_test"] == 450


def test_members_verify_from_their_files_alone(run: Path, cli: Cli):
    member = front(run)["members"][0]
    ran = cli("verify", run / member["path"], "--json")
    assert ran.code == 0, ran.err
    assert ran.record["passed"] is True
    assert ran.record["golden"] is True
    assert ran.record["bytes"] == member["bytes"]
    assert ran.record["accuracy"] == member["accuracy_test"]


@pytest.mark.slow
def test_a_tracked_search_is_resumed_in_the_same_mlflow_run(tmp_path: Path, cli: Cli):
    from mlflow.tracking import MlflowClient

    write_checkpoint(tmp_path)
    config = write_config(tmp_path, tracking={"enabled": True})
    folder = tmp_path / "runs" / "first"
    ran = cli("search", config, "--json")
    assert ran.code == 0, ran.err
    members = len(ran.record["members"])
    assert (folder / "mlflow.db").exists()
    assert cli("resume", folder).code == 0
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("spikefront")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert [r.info.status for r in parents] == ["FINISHED"]
    assert len(runs) == 1 + members
    assert parents[0].data.metrics["final.members"] == members
    versions = client.search_model_versions("name = 'first'")
    assert len(versions) == members
    assert yaml.safe_load((folder / "config.yaml").read_text())["tracking"]["enabled"] is True
