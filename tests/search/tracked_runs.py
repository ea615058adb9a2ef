"""A made-up run folder, and what MLflow must hold once it was tracked."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from spikefront.search.tracking.connection import connect

KEYS = ("aaaa000011112222", "bbbb000011112222", "cccc000011112222")
ALIASES = {"smallest": KEYS[0], "knee": KEYS[1], "most-accurate": KEYS[2]}
CONFIG = {"seed": 3, "strategy": {"name": "random", "window": 8}, "space": {"axes": ["bits"]}}
TAGS = {"network": "tiny"}
SHAPE, CLASSES = (3, 4, 5), 7
NAME = "first light"


@functools.cache
def _empty_database() -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        open_client(Path(scratch))
        return (Path(scratch) / "mlflow.db").read_bytes()


def prepare_database(folder: Path) -> None:
    """Puts MLflow's empty schema into a run folder: making it anew takes a second or more."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlflow.db").write_bytes(_empty_database())


def open_client(folder: Path) -> Any:
    """Client of the database in a run folder."""
    return connect(f"sqlite:///{folder}/mlflow.db")


def make_run(folder: Path) -> dict[str, Any]:
    """Fills a run folder with three members; returns its front."""
    folder.mkdir(parents=True, exist_ok=True)
    members = [_member(folder, number, key) for number, key in enumerate(KEYS)]
    front = {
        "schema": 1,
        "parent": {},
        "members": members,
        "hypervolume": 0.625,
        "reference": {"bytes": 4000, "accuracy": 0.0},
        "counts": {"complete": 40, "rejected": 60},
    }
    (folder / "front.json").write_text(json.dumps(front))
    (folder / "config.yaml").write_text("seed: 3\n")
    (folder / "report.html").write_text("<html></html>")
    pq.write_table(pa.table({"key": [f"{n:016x}" for n in range(100)]}), _table(folder))
    return front


def _table(folder: Path) -> Path:
    return folder / "evaluations.parquet"


def _member(folder: Path, number: int, key: str) -> dict[str, Any]:
    packed = folder / "members" / key
    packed.mkdir(parents=True)
    weight = np.random.default_rng(number).normal(size=(CLASSES, 60)).astype(np.float32)
    save_file({"weight": weight}, packed / "model.safetensors")
    manifest = {"input_shape": list(SHAPE), "num_classes": CLASSES}
    (packed / "manifest.json").write_text(json.dumps(manifest))
    return {
        "key": key,
        "candidate": {"weight": {"block.0.mlp.fc1": 2 + number}},
        "accuracy_search": 0.5 + number / 10,
        "accuracy_test": 0.25 + number / 8,
        "bytes": 1000 + number,
        "bytes_ratio": 0.125,
        "macs": 5000,
        "synops": 1e6 + number,
        "energy_mj": None,
        "path": f"members/{key}",
    }


def runs_of(client: Any, experiment: str = "spikefront") -> list[Any]:
    """All runs of an experiment."""
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id]))


def assert_complete(client: Any, front: dict[str, Any], steps: int) -> None:
    """Everything of the run is there, and nothing twice."""
    runs = runs_of(client)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    assert len(runs) == 1 + len(KEYS)
    _assert_parent(client, parents[0], steps)
    for member in front["members"]:
        _assert_child(client, _child(runs, member["key"]), parents[0].info.run_id, member)
    _assert_registry(client, parents[0].info.run_id, front)


def _child(runs: list[Any], key: str) -> Any:
    (child,) = [run for run in runs if run.data.tags.get("candidate_key") == key]
    return child


def _files(client: Any, run_id: str) -> set[str]:
    return {entry.path for entry in client.list_artifacts(run_id)}


def _assert_parent(client: Any, parent: Any, steps: int) -> None:
    run_id = parent.info.run_id
    assert parent.info.run_name == NAME
    assert parent.info.status == "FINISHED"
    assert parent.data.params["strategy.window"] == "8"
    assert parent.data.params["space.axes"] == '["bits"]'
    assert parent.data.tags["network"] == "tiny"
    assert _files(client, run_id) == {
        "config.yaml",
        "front.json",
        "report.html",
        "evaluations.parquet",
    }
    history = client.get_metric_history(run_id, "hypervolume")
    assert sorted((point.step, point.value) for point in history) == [
        (step, step / 8) for step in range(steps)
    ]
    assert parent.data.metrics["final.hypervolume"] == 0.625
    assert parent.data.metrics["final.rejected"] == 60


def _assert_child(client: Any, child: Any, parent_id: str, member: dict[str, Any]) -> None:
    assert child.data.tags["mlflow.parentRunId"] == parent_id
    assert child.data.tags["on_front"] == "true"
    assert child.info.status == "FINISHED"
    measured = ("accuracy_search", "accuracy_test", "bytes", "bytes_ratio", "macs", "synops")
    assert child.data.metrics == {name: member[name] for name in measured}
    assert _files(client, child.info.run_id) == {"candidate.json"}
    local = client.download_artifacts(child.info.run_id, "candidate.json")
    assert json.loads(Path(local).read_text()) == member["candidate"]


def _assert_registry(client: Any, parent_id: str, front: dict[str, Any]) -> None:
    versions = client.search_model_versions(f"name = '{NAME}'")
    assert sorted(int(entry.version) for entry in versions) == [1, 2, 3]
    by_key = {entry.tags["candidate_key"]: entry for entry in versions}
    for member in front["members"]:
        tags = by_key[member["key"]].tags
        assert tags["search_run_id"] == parent_id
        assert float(tags["accuracy_test"]) == member["accuracy_test"]
        assert int(tags["bytes"]) == member["bytes"]
    for alias, key in ALIASES.items():
        found = client.get_model_version_by_alias(NAME, alias)
        assert found.tags["candidate_key"] == key
