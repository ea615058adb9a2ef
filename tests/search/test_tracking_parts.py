from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefront.search.tracking import progress
from spikefront.search.tracking.limits import clean_metrics, flatten, param_batches
from spikefront.search.tracking.operation import Kind, Operation
from spikefront.search.tracking.progress import ProgressBuffer
from spikefront.search.tracking.settings import (
    TrackingSettings,
    artifact_location,
    model_name,
    sqlite_file,
    tracking_uri,
)
from spikefront.search.tracking.spool import Spool


def operation(number: int) -> Operation:
    return Operation(Kind.PARAMS, "local-1", {"params": {"n": str(number)}})


def pending(spool: Spool) -> list[Operation]:
    found = []
    while len(spool) > 0:
        found.append(spool.first())
        spool.pop()
    return found


@given(appended=st.integers(1, 8), popped=st.integers(0, 8), cut=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_a_spool_loses_at_most_its_torn_line(tmp_path_factory, appended, popped, cut):
    path = tmp_path_factory.mktemp("spool") / "spool.jsonl"
    spool = Spool(path)
    for number in range(appended):
        spool.append(operation(number))
    done = min(popped, appended - 1)
    for _ in range(done):
        spool.pop()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - cut])

    again = Spool(path)
    again.append(operation(99))
    *kept, last = pending(Spool(path))
    assert last == operation(99)
    expected = [operation(number) for number in range(appended)]
    # A torn count of what is done gives operations again; a torn operation is the last one only.
    assert kept in [
        expected[start:end] for start in range(done + 1) for end in (appended, appended - 1)
    ]
    if cut <= 1:
        assert kept == expected[done:]


def test_a_spool_is_a_file_only_while_something_waits(tmp_path):
    path = tmp_path / "spool.jsonl"
    spool = Spool(path)
    assert not path.exists()
    for round_number in range(2):
        spool.append(operation(round_number))
        spool.append(operation(round_number + 10))
        assert path.exists()
        assert pending(spool) == [operation(round_number), operation(round_number + 10)]
        assert not path.exists()


def test_a_disk_that_refuses_does_not_stop_anything(tmp_path, caplog):
    spool = Spool(tmp_path / "missing" / "spool.jsonl")
    spool.append(operation(1))
    spool.append(operation(2))
    assert caplog.text.count("kept in memory only") == 1
    assert pending(spool) == [operation(1), operation(2)]


def test_batches_of_params_stay_within_one_request():
    params = {f"p{n}": "\N{PILE OF POO}" * 6000 for n in range(60)}
    params |= {f"q{n}": "1" for n in range(250)}
    batches = list(param_batches(params))
    assert {name: value for batch in batches for name, value in batch.items()} == params
    assert sum(map(len, batches)) == len(params)
    assert max(map(len, batches)) == 100
    assert max(len(json.dumps(batch)) for batch in batches) < 1_000_000


def test_config_is_flattened():
    config = {"a": {"b": {"c": 1.5}, "d": None}, "e": [1, {"f": 2}], "g": {}, "h": True, "i": "x"}
    assert flatten(config) == {
        "a.b.c": "1.5",
        "a.d": "null",
        "e": '[1, {"f": 2}]',
        "g": "{}",
        "h": "true",
        "i": "x",
    }


def test_unknown_metrics_are_left_out():
    assert clean_metrics({"a": None, "b": math.nan, "c": 2, "d?": math.inf}) == {
        "c": 2.0,
        "d_": math.inf,
    }


def test_progress_thins_what_is_too_much_and_keeps_the_newest():
    sent: list[list] = []
    buffer = ProgressBuffer(sent.append)
    for step in range(5001):
        buffer.add(step, {"best": float(step), "count": step})
    buffer.stop()
    (batch,) = sent
    assert len(batch) <= 1000
    steps = sorted({step for _, _, _, step in batch})
    assert steps[-1] == 5000
    assert steps[0] < 500
    assert len(batch) == 2 * len(steps)


def test_progress_is_sent_while_the_search_runs(monkeypatch):
    monkeypatch.setattr(progress, "_INTERVAL_SECONDS", 0.01)
    sent: list[list] = []
    arrived = threading.Event()

    def send(points: list) -> None:
        sent.append(points)
        arrived.set()

    buffer = ProgressBuffer(send)
    buffer.start()
    buffer.add(1, {"best": 0.5})
    assert arrived.wait(timeout=30)
    buffer.stop()
    assert [(name, value, step) for batch in sent for name, value, _, step in batch] == [
        ("best", 0.5, 1)
    ]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:////data/a b/mlflow.db", Path("/data/a b/mlflow.db")),
        ("sqlite:////data/x%20y.db?timeout=3", Path("/data/x y.db")),
        ("sqlite:///here.db", Path.cwd() / "here.db"),
        ("sqlite://", None),
        ("http://host:5000", None),
    ],
)
def test_file_of_a_sqlite_uri(uri, expected):
    assert sqlite_file(uri) == expected


def test_where_a_run_is_tracked(tmp_path):
    folder = tmp_path / "a b"
    uri = tracking_uri(TrackingSettings(uri=None), folder)
    assert uri == f"sqlite:///{folder}/mlflow.db"
    assert artifact_location(uri) == (folder / "mlartifacts").as_uri()
    assert artifact_location("http://host:5000") is None
    assert tracking_uri(TrackingSettings(uri="http://host:5000"), folder) == "http://host:5000"


@pytest.mark.parametrize(
    ("wanted", "expected"), [("a/b:c's", "a-b-c-s"), ("..", "spikefront"), ("first light", None)]
)
def test_name_of_a_registered_model(wanted, expected):
    assert model_name(wanted) == (expected or wanted)
