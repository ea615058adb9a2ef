from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from spikefront.search import run_folder as run_folder_module
from spikefront.search.run_folder import RunFolder, write_json, write_text
from spikefront.spaces.errors import BadInput, CorruptFile, RunFailed


def test_what_lies_where(tmp_path: Path):
    folder = RunFolder(tmp_path)
    named = [folder.config, folder.ledger, folder.evaluations, folder.front, folder.report]
    assert [path.name for path in named] == [
        "config.yaml",
        "ledger.jsonl",
        "evaluations.parquet",
        "front.json",
        "report.html",
    ]
    assert {path.parent for path in named} == {tmp_path}
    assert folder.member("ab12") == tmp_path / "members" / "ab12"


def test_create_makes_folders_above_it_and_takes_an_empty_one(tmp_path: Path):
    folder = RunFolder(tmp_path / "runs" / "first")
    folder.create()
    folder.create()
    assert folder.path.is_dir()


def test_create_refuses_a_run_and_says_what_to_do(tmp_path: Path):
    folder = RunFolder(tmp_path / "first")
    folder.create()
    folder.ledger.write_text("")
    for refuse in (folder.create, folder.require_free):
        with pytest.raises(BadInput, match=rf"spikefront resume {folder.path}\) or give .*--name"):
            refuse()


def test_create_where_a_file_is_in_the_way(tmp_path: Path):
    (tmp_path / "runs").write_text("")
    for path in (tmp_path / "runs", tmp_path / "runs" / "first"):
        with pytest.raises(BadInput, match=f"cannot create {path}: "):
            RunFolder(path).create()


@pytest.mark.parametrize("missing", ["config.yaml", "ledger.jsonl"])
def test_require_names_what_is_missing(tmp_path: Path, missing: str):
    for name in {"config.yaml", "ledger.jsonl"} - {missing}:
        (tmp_path / name).write_text("")
    with pytest.raises(BadInput, match=f"{tmp_path} holds no run: {missing} is missing"):
        RunFolder(tmp_path).require()
    (tmp_path / missing).write_text("")
    RunFolder(tmp_path).require()


def test_front_is_read_back(tmp_path: Path):
    folder = RunFolder(tmp_path)
    with pytest.raises(BadInput, match="not finished; resume it"):
        folder.read_front()
    write_json(folder.front, {"members": [], "hypervolume": 0.1 + 0.2})
    assert folder.read_front() == {"members": [], "hypervolume": 0.1 + 0.2}
    folder.front.write_text('{"members": [')
    with pytest.raises(CorruptFile, match=r"front\.json is not JSON"):
        folder.read_front()


def test_write_text_replaces_and_leaves_nothing_else(tmp_path: Path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    write_text(path, "θ ≥ 1\n")
    assert path.read_text(encoding="utf-8") == "θ ≥ 1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_folder_module.os, "fsync", fail)
    with pytest.raises(RunFailed, match=r"a\.txt: No space left on device; .* resume") as failed:
        write_text(path, "new")
    assert failed.value.exit_code == 4
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["missing/a.txt", "file/a.txt"])
def test_write_where_there_is_no_folder(tmp_path: Path, place: str):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailed, match="cannot write"):
        write_text(tmp_path / place, "text")
