from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest
from tracked_runs import (
    ALIASES,
    CONFIG,
    KEYS,
    NAME,
    TAGS,
    assert_complete,
    make_run,
    open_client,
    prepare_database,
    runs_of,
)

from spikefront.search.tracking import Tracker, TrackingSettings, replay_spool
from spikefront.search.tracking.operation import Kind
from spikefront.search.tracking.store import Store

LOCAL = TrackingSettings(uri=None)


@pytest.fixture
def nobody():
    """Settings with an address of this machine at which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield TrackingSettings(uri=f"http://127.0.0.1:{bound.getsockname()[1]}")


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    front = make_run(folder)
    prepare_database(folder)
    return folder, front


def spool_of(folder: Path) -> Path:
    return folder / "mlflow-spool.jsonl"


def search(folder: Path, settings: TrackingSettings, front: dict) -> str:
    tracker = Tracker(settings, folder)
    run_id = tracker.start(NAME, CONFIG, TAGS)
    for step in range(5):
        tracker.progress(step, {"hypervolume": step / 8})
    tracker.finish(front, aliases=ALIASES)
    return run_id


def outages(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = [record.getMessage() for record in caplog.records]
    return [message for message in messages if "out of reach" in message]


class Flaky:
    """Makes a store fail as a lost connection does, for chosen calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails_at: set[int] = set()
        self.fails_after = False
        self.calls = 0
        real = Store.apply

        def apply(store: Store, operation):
            self.calls += 1
            failing = self.calls in self.fails_at
            if failing and not self.fails_after:
                raise ConnectionError("connection reset")
            real(store, operation)
            if failing:
                raise ConnectionError("no answer")

        monkeypatch.setattr(Store, "apply", apply)


def test_a_search_without_mlflow_finishes_and_is_replayed_in_full(run, nobody, caplog):
    folder, front = run
    run_id = search(folder, nobody, front)
    assert run_id.startswith("local-")
    assert len(outages(caplog)) == 1
    assert spool_of(folder).exists()
    assert [record.name for record in caplog.records if "urllib3" in record.name] == []

    assert replay_spool(folder, LOCAL) == 0
    assert_complete(open_client(folder), front, steps=5)
    assert not spool_of(folder).exists()
    assert replay_spool(folder, LOCAL) == 0


def test_replaying_to_nobody_keeps_everything(run, nobody):
    folder, front = run
    search(folder, nobody, front)
    before = spool_of(folder).read_bytes()
    waiting = replay_spool(folder, nobody)
    assert waiting == before.count(b'{"operation"')
    assert spool_of(folder).read_bytes() == before


def test_a_replay_done_twice_changes_nothing(run, nobody):
    folder, front = run
    search(folder, nobody, front)
    spooled = spool_of(folder).read_bytes()
    assert replay_spool(folder, LOCAL) == 0
    spool_of(folder).write_bytes(spooled)
    assert replay_spool(folder, LOCAL) == 0
    assert_complete(open_client(folder), front, steps=5)


@pytest.mark.parametrize("after", [False, True], ids=["request lost", "answer lost"])
def test_a_replay_that_breaks_off_goes_on_where_it_was(run, nobody, monkeypatch, after):
    folder, front = run
    search(folder, nobody, front)
    flaky = Flaky(monkeypatch)
    flaky.fails_after = after
    # At the parent's creation, a child's creation, a registration and the aliases.
    kinds = [line.split(b'"', 6)[5].decode() for line in spool_of(folder).read_bytes().splitlines()]
    chosen = [
        kinds.index(Kind.CREATE_RUN),
        kinds.index(Kind.CREATE_RUN, 1),
        kinds.index(Kind.REGISTER),
        kinds.index(Kind.ALIASES),
    ]
    flaky.fails_at = {position + 1 + earlier for earlier, position in enumerate(chosen)}
    left = [replay_spool(folder, LOCAL) for _ in range(5)]
    assert left == [*(len(kinds) - position for position in chosen), 0]
    assert_complete(open_client(folder), front, steps=5)


def test_an_outage_in_the_middle_keeps_the_order(run, monkeypatch, caplog):
    folder, front = run
    flaky = Flaky(monkeypatch)
    flaky.fails_at = {2}
    tracker = Tracker(LOCAL, folder)
    run_id = tracker.start(NAME, CONFIG, TAGS)
    assert flaky.calls == 2
    assert not run_id.startswith("local-")
    assert open_client(folder).get_run(run_id).data.params == {}
    for step in range(5):
        tracker.progress(step, {"hypervolume": step / 8})
    tracker.finish(front, aliases=ALIASES)
    assert_complete(open_client(folder), front, steps=5)
    assert not spool_of(folder).exists()
    assert len(outages(caplog)) == 1


def test_a_search_that_started_in_an_outage_is_resumed_by_its_local_id(run, nobody):
    folder, front = run
    first = Tracker(nobody, folder)
    run_id = first.start(NAME, CONFIG, TAGS)
    first.progress(0, {"hypervolume": 0.0})
    first.close()
    second = Tracker(LOCAL, folder)
    second.resume(run_id)
    second.progress(1, {"hypervolume": 0.125})
    second.finish(front, aliases=ALIASES)
    assert_complete(open_client(folder), front, steps=2)


def test_a_torn_end_of_the_spool_costs_only_that_line(run, nobody, caplog):
    folder, front = run
    tracker = Tracker(nobody, folder)
    run_id = tracker.start(NAME, CONFIG, TAGS)
    tracker.progress(0, {"hypervolume": 0.0})
    tracker.close()
    whole = spool_of(folder).read_bytes()
    spool_of(folder).write_bytes(whole[:-20])  # the end of the run, cut by a crash

    with caplog.at_level(logging.WARNING):
        resumed = Tracker(nobody, folder)
    assert "torn" in caplog.text
    resumed.resume(run_id)
    resumed.finish(front, aliases=ALIASES)
    assert replay_spool(folder, LOCAL) == 0
    assert_complete(open_client(folder), front, steps=1)


def test_what_mlflow_will_never_take_does_not_hold_up_the_rest(run, caplog):
    folder, front = run
    (folder / "members" / KEYS[1] / "manifest.json").unlink()
    search(folder, LOCAL, front)
    assert not spool_of(folder).exists()
    assert "was not packed" in caplog.text
    assert "alias 'knee'" in caplog.text
    client = open_client(folder)
    versions = client.search_model_versions(f"name = '{NAME}'")
    assert {entry.tags["candidate_key"] for entry in versions} == {KEYS[0], KEYS[2]}
    assert len(runs_of(client)) == 4


def test_a_deleted_run_is_reported_and_the_search_goes_on(run, caplog):
    folder, front = run
    tracker = Tracker(LOCAL, folder)
    run_id = tracker.start(NAME, CONFIG, TAGS)
    open_client(folder).delete_run(run_id)
    tracker.finish({**front, "members": []})
    assert "MLflow refused it" in caplog.text
    assert not spool_of(folder).exists()


def test_a_database_that_cannot_be_opened_is_an_outage(run, caplog):
    folder, front = run
    settings = TrackingSettings(uri=f"sqlite:///{folder}/config.yaml/mlflow.db")
    assert search(folder, settings, front).startswith("local-")
    assert len(outages(caplog)) == 1
    assert replay_spool(folder, LOCAL) == 0
    assert_complete(open_client(folder), front, steps=5)


def test_a_second_writer_of_one_database_is_warned(run, tmp_path, caplog):
    folder, _ = run
    settings = TrackingSettings(uri=f"sqlite:///{folder}/mlflow.db")
    first, second = (Tracker(settings, tmp_path / name) for name in ("one", "two"))
    first.start("one", {}, {})
    assert "written by another search" not in caplog.text
    second.start("two", {}, {})
    assert "written by another search" in caplog.text
    first.close()
    second.close()
    assert {entry.info.run_name for entry in runs_of(open_client(folder))} == {"one", "two"}
    caplog.clear()
    third = Tracker(settings, tmp_path / "three")
    third.start("three", {}, {})
    third.close()
    assert "written by another search" not in caplog.text
