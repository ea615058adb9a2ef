"""Whole searches over real images, through the command line."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from small_model import Cli, Ran, exit_code, write_checkpoint, write_config

from spikefront.cluster.in_process import InProcessBackend
from spikefront.evaluators.evaluation import Request
from spikefront.search import Search
from spikefront.search import ledger as ledger_module
from spikefront.search.config import Config
from spikefront.search.ledger import Ledger
from spikefront.search.report.run_files import RunFiles


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that went to its end; nobody changes it."""
    folder = tmp_path_factory.mktemp("finished")
    write_checkpoint(folder)
    assert exit_code(["search", str(write_config(folder))]) == 0
    return folder / "runs" / "first"


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    write_checkpoint(tmp_path)
    config = (finished / "config.yaml").read_text()
    shutil.copytree(finished, tmp_path / "runs" / "first")
    moved = config.replace(str(finished.parents[1]), str(tmp_path))
    (tmp_path / "runs" / "first" / "config.yaml").write_text(moved)
    return tmp_path / "runs" / "first"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def front(run: Path) -> dict[str, Any]:
    return json.loads((run / "front.json").read_text())


def interrupt(monkeypatch: pytest.MonkeyPatch, waits: int) -> None:
    """Let Ctrl-C fall into a wait."""
    original, left = InProcessBackend.wait, [waits]

    def wait(self: InProcessBackend, timeout: float | None = None) -> list:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return original(self, timeout)

    monkeypatch.setattr(InProcessBackend, "wait", wait)


def watch_requests(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Note all requests from now on."""
    original, seen = InProcessBackend.submit, []

    def submit(self: InProcessBackend, task: int, request: Request) -> None:
        seen.append(request)
        original(self, task, request)

    monkeypatch.setattr(InProcessBackend, "submit", submit)
    return seen


def test_the_folder_holds_what_it_should(finished: Path):
    record = front(finished)
    keys = [member["key"] for member in record["members"]]
    assert keys
    assert {path.name for path in finished.iterdir()} == {
        "config.yaml",
        "ledger.jsonl",
        "evaluations.parquet",
        "front.json",
        "members",
        "report.html",
    }
    assert {path.name for path in (finished / "members").iterdir()} == set(keys)
    for member in record["members"]:
        folder = finished / member["path"]
        files = {path.name: path.stat().st_size for path in folder.iterdir()}
        assert files.keys() == {"model.safetensors", "manifest.json", "golden.safetensors"}
        assert member["bytes"] <= files["model.safetensors"]
        assert member["bytes_container"] == sum(files.values())


def test_the_front_is_read_by_the_report_and_adds_up(finished: Path):
    run = RunFiles.read(finished)
    assert run.front.counts.complete + run.front.counts.infeasible + run.front.counts.rejected == 8
    assert len(run.table) == 8
    assert {member.key for member in run.front.members} <= set(run.table.key.tolist())
    assert run.front.parent.n_search == 400
    for member in run.front.members:
        assert (member.n_search, member.n_test) == (400, 450)
        assert member.test_interval is not None


def test_the_config_is_kept_with_all_defaults(finished: Path):
    config = Config.load(finished / "config.yaml")
    assert yaml.safe_load((finished / "config.yaml").read_text()) == config.model_dump(mode="json")
    assert (config.cluster.window, config.evaluation.batch_size) == (3, 100)


def test_the_ledger_holds_every_candidate_once(finished: Path):
    header, events = Ledger.read(finished / "ledger.jsonl")
    assert {"weights", "calibration", "search", "space", "seed"} <= header["fingerprints"].keys()
    evaluated = [event["evaluation"]["key"] for event in events if event["event"] == "evaluated"]
    assert len(evaluated) == len(set(evaluated)) == 8
    assert pq.read_table(finished / "evaluations.parquet")["key"].to_pylist() == evaluated


def test_the_library_gives_the_same_front(finished: Path, tmp_path: Path):
    write_checkpoint(tmp_path)
    result = Search.from_config(write_config(tmp_path)).run()
    assert [member.key for member in result.front] == [m["key"] for m in front(finished)["members"]]
    assert result.record == front(finished) == front(result.folder)


def test_verify_a_member(finished: Path, cli: Cli):
    member = finished / front(finished)["members"][0]["path"]
    ran = cli("verify", member, "--json")
    assert ran.code == 0, ran.err
    assert ran.record["passed"] is True
    assert ran.record["accuracy"] == ran.record["accuracy_recorded"] is not None
    assert cli("verify", member, "--no-data").out.splitlines()[-1] == "verified"


def altered_weights(member: Path) -> None:
    file = member / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)


def truncated_weights(member: Path) -> None:
    file = member / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def missing_golden(member: Path) -> None:
    (member / "golden.safetensors").unlink()


def claims(field: str, value: float) -> Any:
    def alter(member: Path) -> None:
        manifest = json.loads((member / "manifest.json").read_text())
        assert field in manifest["record"]
        manifest["record"][field] = value
        (member / "manifest.json").write_text(json.dumps(manifest))

    return alter


@pytest.mark.parametrize(
    ("alter", "code", "says"),
    [
        (altered_weights, 2, "altered"),
        (truncated_weights, 2, "truncated"),
        (missing_golden, 2, "golden.safetensors is missing"),
        (claims("bytes", 17), 4, "NOT verified"),
        (claims("accuracy_test", 0.99), 4, "NOT verified"),
    ],
)
def test_verify_an_altered_member(copied: Path, cli: Cli, alter: Any, code: int, says: str):
    member = copied / front(copied)["members"][0]["path"]
    alter(member)
    ran = cli("verify", member)
    assert ran.code == code
    assert says in ran.out + ran.err


def test_evaluate_a_member_and_the_checkpoint(finished: Path, cli: Cli):
    record = front(finished)
    member = record["members"][-1]
    ran = cli("evaluate", finished / member["path"], "--json")
    assert ran.code == 0, ran.err
    assert (ran.record["accuracy"], ran.record["n"]) == (member["accuracy_test"], 450)
    low, high = ran.record["interval"]
    assert low < ran.record["accuracy"] < high
    ran = cli("evaluate", finished.parents[1] / "small.safetensors", "--split", "search")
    assert ran.code == 0, ran.err
    assert f"{record['parent']['accuracy_search']:.2%}" in ran.out
    assert "400 search images" in ran.out


def test_report_is_written_anew(finished: Path, copied: Path, cli: Cli):
    (copied / "report.html").unlink()
    ran = cli("report", copied, "--svg", copied / "front.svg", "--json")
    assert ran.code == 0, ran.err
    assert ran.record == {
        "report": str(copied / "report.html"),
        "svg": str(copied / "front.svg"),
    }
    written = (copied / "report.html").read_text()
    moved_back = written.replace(str(copied.parents[1]), str(finished.parents[1]))
    assert moved_back == (finished / "report.html").read_text()
    assert (copied / "front.svg").read_text().startswith("<svg")


def test_the_end_is_told_to_people_and_to_machines(copied: Path, cli: Cli):
    text, machine = cli("resume", copied), cli("resume", copied, "--json")
    assert (text.code, machine.code) == (0, 0)
    assert machine.record == {**front(copied), "folder": str(copied)}
    for member in front(copied)["members"]:
        assert member["key"] in text.out
    assert "small (trained)" in text.out
    assert str(copied / "report.html") in text.out
    assert "8/8 candidates" in text.err


def test_resume_of_a_finished_run_evaluates_no_candidate(
    copied: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
):
    before = contents(copied)
    requests = watch_requests(monkeypatch)
    ran = cli("resume", copied)
    assert ran.code == 0, ran.err
    assert "Resumed after 8 committed suggestions" in ran.err
    assert all(request.test for request in requests)
    after = contents(copied)
    assert after.keys() == before.keys()
    for name in ("ledger.jsonl", "front.json", "evaluations.parquet"):
        assert after[name] == before[name]


def test_resume_with_a_larger_budget(copied: Path, cli: Cli):
    ran = cli("resume", copied, "--candidates", "11", "--json")
    assert ran.code == 0, ran.err
    counts = ran.record["counts"]
    assert counts["complete"] + counts["rejected"] + counts["infeasible"] == 11


def test_more_candidates_outweigh_patience(copied: Path, cli: Cli):
    config = copied / "config.yaml"
    told = yaml.safe_load(config.read_text())
    told["budget"]["patience"] = 1
    config.write_text(yaml.safe_dump(told))
    ran = cli("resume", copied, "--candidates", "11", "--json")
    assert ran.code == 0, ran.err
    counts = ran.record["counts"]
    assert counts["complete"] + counts["rejected"] + counts["infeasible"] == 11


@pytest.mark.parametrize("waits", [0, 5, 8])
def test_interrupt_and_resume(
    tmp_path: Path, finished: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, waits: int
):
    """The eighth wait is the first one of the test split, when all candidates are evaluated."""
    write_checkpoint(tmp_path)
    run = tmp_path / "runs" / "first"
    with monkeypatch.context() as patch:
        interrupt(patch, waits)
        ran = cli("search", write_config(tmp_path))
    assert ran.code == 130
    assert f"interrupted; everything committed is safe; go on with: spikefront resume {run}" in (
        ran.err
    )
    assert ran.out == ""
    assert not (run / "front.json").exists()
    with monkeypatch.context() as patch:
        requests = watch_requests(patch)
        ran = cli("resume", run)
    assert ran.code == 0, ran.err
    assert f"Resumed after {waits} committed" in ran.err
    assert sum(not request.test for request in requests) == 8 - waits
    assert front(run) == front(finished)


def test_interrupt_before_there_is_a_run_promises_nothing(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spikefront.search.search.prepare", interrupted)
    write_checkpoint(tmp_path)
    ran = cli("search", write_config(tmp_path), "--json")
    assert ran.code == 130
    assert ran.record == {"error": "interrupted", "exit_code": 130}
    assert not (tmp_path / "runs").exists()


def test_full_disk_then_resume(
    tmp_path: Path, finished: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
):
    real, left = os.pwrite, [5_000]

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        left[0] -= len(data)
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data, offset)

    write_checkpoint(tmp_path)
    run = tmp_path / "runs" / "first"
    with monkeypatch.context() as patch:
        patch.setattr(ledger_module.os, "pwrite", pwrite)
        ran = cli("search", write_config(tmp_path))
    assert ran.code == 4
    assert "No space left on device" in ran.err
    assert "events committed so far are safe" in ran.err
    ran = cli("resume", run)
    assert ran.code == 0, ran.err
    assert front(run) == front(finished)


def test_search_into_a_run_is_refused_and_changes_nothing(copied: Path, cli: Cli):
    before = contents(copied)
    config = write_config(copied.parents[1], seed=7)
    ran = cli("search", config)
    assert ran.code == 2
    assert f"spikefront resume {copied}" in ran.err
    assert "--name" in ran.err
    assert contents(copied) == before
    ran = cli("search", config, "--name", "second")
    assert ran.code == 0, ran.err
    assert contents(copied) == before
    assert (copied.parent / "second" / "front.json").exists()


def test_resume_under_other_conditions_is_refused(copied: Path, cli: Cli):
    before = (copied / "ledger.jsonl").read_bytes()
    config = yaml.safe_load((copied / "config.yaml").read_text())
    config["seed"], config["constraints"]["max_drop"] = 9, 0.5
    (copied / "config.yaml").write_text(yaml.safe_dump(config))
    ran = cli("resume", copied)
    assert ran.code == 2
    assert "seed: recorded 0, now 9" in ran.err
    assert "settings: recorded" in ran.err
    assert (copied / "ledger.jsonl").read_bytes() == before


def test_a_damaged_ledger_is_refused(copied: Path, cli: Cli):
    data = bytearray((copied / "ledger.jsonl").read_bytes())
    data[len(data) // 2] ^= 1
    (copied / "ledger.jsonl").write_bytes(data)
    ran = cli("resume", copied)
    assert ran.code == 2
    assert "is damaged" in ran.err


def nothing_feasible(folder: Path, cli: Cli) -> Ran:
    write_checkpoint(folder)
    return cli("search", write_config(folder, constraints={"max_bytes": 1}), "--json")


def test_nothing_feasible(tmp_path: Path, cli: Cli):
    ran = nothing_feasible(tmp_path, cli)
    run = tmp_path / "runs" / "first"
    assert ran.code == 3
    assert ran.record["exit_code"] == 3
    assert "none of 8 candidates meets the constraints" in ran.record["error"]
    assert str(run / "nearest_misses.json") in ran.err
    misses = json.loads((run / "nearest_misses.json").read_text())["misses"]
    assert len(misses) == 5
    assert [m["violation"] for m in misses] == sorted(m["violation"] for m in misses)
    assert misses[0]["measures"]["bytes"] == 1 + misses[0]["violation"]
    assert front(run)["members"] == []
    assert front(run)["counts"]["infeasible"] == 8
    assert "No candidate met the constraints" in (run / "report.html").read_text()
    assert cli("resume", run).code == 3
