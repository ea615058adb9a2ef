from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tracked_runs import (
    ALIASES,
    CLASSES,
    CONFIG,
    KEYS,
    NAME,
    SHAPE,
    TAGS,
    assert_complete,
    make_run,
    open_client,
    prepare_database,
    runs_of,
)

from spikefront.search.tracking import Tracker, TrackingSettings
from spikefront.spaces import BadInput


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A finished search, tracked in its own folder, whose name has spaces."""
    folder = tmp_path_factory.mktemp("runs") / "a run with spaces"
    front = make_run(folder)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        tracker = Tracker(TrackingSettings(uri=None), folder)
        run_id = tracker.start(NAME, CONFIG, TAGS)
        for step in range(20):
            tracker.progress(step, {"hypervolume": step / 8, "best": None})
        tracker.finish(front, aliases=ALIASES)
    return folder, front, run_id, elsewhere


def test_a_search_is_one_run_with_a_child_and_a_version_per_member(tracked):
    folder, front, run_id, _ = tracked
    assert_complete(open_client(folder), front, steps=20)
    assert open_client(folder).get_run(run_id).info.run_name == NAME


def test_everything_stays_in_the_run_folder(tracked):
    import mlflow

    folder, _, _, elsewhere = tracked
    assert list(elsewhere.iterdir()) == []
    assert str(folder) not in mlflow.get_tracking_uri()
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "evaluations.parquet",
        "front.json",
        "members",
        "mlartifacts",
        "mlflow.db",
        "report.html",
    }


def test_all_candidates_are_one_table(tracked):
    import pyarrow.parquet as pq

    folder, _, run_id, _ = tracked
    table = open_client(folder).download_artifacts(run_id, "evaluations.parquet")
    assert pq.read_table(table).num_rows == 100


@pytest.fixture
def served_from(tracked, monkeypatch):
    import mlflow

    uri = f"sqlite:///{tracked[0]}/mlflow.db"
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    yield uri
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


def _load_fake(folder: str) -> torch.nn.Module:
    weight = load_file(Path(folder) / "model.safetensors")["weight"]
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = torch.nn.Parameter(weight)
    return torch.nn.Sequential(torch.nn.Flatten(), layer)


def test_a_version_loads_by_alias_without_pickle(tracked, served_from, monkeypatch, recwarn):
    import mlflow.pyfunc

    import spikefront.svtmodels

    monkeypatch.setattr(spikefront.svtmodels, "load_packed", _load_fake, raising=False)
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@most-accurate")
    images = np.random.default_rng(0).random((150, *SHAPE), dtype=np.float32)
    logits = model.predict(images)
    expected = _load_fake(str(tracked[0] / "members" / KEYS[2]))(torch.from_numpy(images))
    assert logits.dtype == np.float32
    assert logits.shape == (150, CLASSES)
    np.testing.assert_allclose(logits, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    assert not [str(entry.message) for entry in recwarn if "mlflow" in entry.filename]


def test_a_logged_model_says_what_goes_in_and_what_it_needs(tracked, served_from):
    import mlflow.models

    found = mlflow.models.get_model_info(f"models:/{NAME}@knee")
    assert found.signature is not None
    assert found.signature.inputs.inputs[0].shape == (-1, *SHAPE)
    assert found.signature.outputs.inputs[0].shape == (-1, CLASSES)
    assert not list((tracked[0] / "mlartifacts").rglob("*.pkl"))
    (requirements, *_) = (tracked[0] / "mlartifacts").rglob("requirements.txt")
    names = [line.split("==")[0] for line in requirements.read_text().splitlines()]
    assert {"spikefront", "torch", "numpy", "safetensors"} <= set(names)


def test_an_interrupted_search_goes_on_in_its_run(tmp_path):
    front = make_run(tmp_path / "run")
    prepare_database(tmp_path / "run")
    folder, settings = tmp_path / "run", TrackingSettings(uri=None)
    first = Tracker(settings, folder)
    run_id = first.start(NAME, CONFIG, TAGS)
    first.progress(0, {"hypervolume": 0.0})
    first.close()
    assert open_client(folder).get_run(run_id).info.status == "KILLED"

    second = Tracker(settings, folder)
    second.resume(run_id)
    assert open_client(folder).get_run(run_id).info.status == "RUNNING"
    second.progress(1, {"hypervolume": 0.125})
    second.finish(front, aliases=ALIASES)
    assert_complete(open_client(folder), front, steps=2)

    # With a larger budget: one member has left the front.
    third = Tracker(settings, folder)
    third.resume(run_id)
    third.finish({**front, "members": front["members"][1:]}, aliases={"smallest": KEYS[1]})
    client = open_client(folder)
    on_front = {
        run.data.tags["candidate_key"]: run.data.tags["on_front"]
        for run in runs_of(client)
        if "candidate_key" in run.data.tags
    }
    assert on_front == {KEYS[0]: "false", KEYS[1]: "true", KEYS[2]: "true"}
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 3
    assert client.get_model_version_by_alias(NAME, "smallest").tags["candidate_key"] == KEYS[1]


def test_many_and_long_params_arrive(tmp_path):
    config = {"many": {f"p{n:03d}": n for n in range(150)}, "long": "x" * 20_000, "ä?": "wide"}
    prepare_database(tmp_path)
    tracker = Tracker(TrackingSettings(uri=None, experiment="limits"), tmp_path)
    run_id = tracker.start(NAME, config, {"long": "y" * 20_000})
    tracker.close("FAILED")
    run = open_client(tmp_path).get_run(run_id)
    assert [run.data.params[f"many.p{n:03d}"] for n in range(150)] == [str(n) for n in range(150)]
    assert run.data.params["long"] == "x" * 5997 + "..."
    assert run.data.params["ä_"] == "wide"
    assert len(run.data.tags["long"]) == 8000
    assert run.info.status == "FAILED"


def test_a_tracker_that_is_off_leaves_no_trace(tmp_path):
    tracker = Tracker(TrackingSettings(uri=None, enabled=False), tmp_path)
    assert tracker.start(NAME, CONFIG, TAGS) == ""
    tracker.progress(0, {"hypervolume": 1.0})
    tracker.finish({"members": [], "counts": {}})
    assert list(tmp_path.iterdir()) == []


def test_mlflow_is_imported_when_it_is_needed_and_not_before():
    code = (
        "import sys, os, json; before = dict(os.environ)\n"
        "from pathlib import Path\n"
        "from spikefront.search.tracking import Tracker, TrackingSettings\n"
        "Tracker(TrackingSettings(uri=None), Path('.'))\n"
        "print(json.dumps(['mlflow' in sys.modules, before == dict(os.environ)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [False, True]


@pytest.mark.parametrize("folder", ["50%41", "what?", "run#3"])
def test_a_folder_that_mlflow_cannot_address_is_refused(tmp_path, folder):
    with pytest.raises(BadInput, match=r"tracking\.uri"):
        Tracker(TrackingSettings(uri=None), tmp_path / folder)


def test_what_the_caller_gets_wrong_is_said_before_anything_is_written(tmp_path):
    front = make_run(tmp_path)
    tracker = Tracker(TrackingSettings(uri=None), tmp_path)
    with pytest.raises(BadInput, match="start or resume"):
        tracker.finish(front)
    with pytest.raises(BadInput, match="not tracked"):
        tracker.resume("")
    with pytest.raises(BadInput, match="alias 'knee'"):
        tracker.finish(front, aliases={"knee": "dddd000011112222"})
    assert not (tmp_path / "mlflow.db").exists()
