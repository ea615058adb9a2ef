"""The machinery of the benchmark of published methods; no method is compared, no time checked."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from benchmarks import papers, papers_runs
from benchmarks.papers import TOKENS, Work, do_all, summarise
from benchmarks.papers_page import page, show, write_page
from benchmarks.papers_runs import (
    BEGINNING,
    NETWORKS,
    OWN,
    REPEATED,
    RUNS,
    Setting,
    config,
    perform,
    search_row,
)
from benchmarks.papers_tokens import CRITERIA
from spikefront.search.config import Config
from spikefront.search.papers import PAPERS
from spikefront.search.run_folder import RunFolder
from spikefront.search.strategies import STRATEGIES
from spikefront.spaces import NothingFeasible, RunFailed, SurgeryOptions
from spikefront.spaces.surgery import ALLOWED
from spikefront.svtmodels.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "benchmarks" / "results" / "papers.json"


def parsed(name: str, folder: Path, **setting: Any) -> Config:
    told = config(RUNS[name], NETWORKS[0], Setting(**setting), folder)
    return Config.parse(yaml.safe_dump(told), strategies=STRATEGIES)


@pytest.mark.parametrize("name", list(RUNS))
def test_every_search_is_told_what_its_name_says(name: str, tmp_path: Path) -> None:
    given = parsed(name, tmp_path)
    channels = ("psvit", "psvit-own", "primesvt", "primesvt-own", "joint-channels")
    drop = 0.03 if name in channels else 0.015
    assert given.constraints.max_drop == drop
    surgery = SurgeryOptions.from_dict(given.surgery.model_dump())
    own = SurgeryOptions(recovery_images=128, vectors="int8")
    assert (surgery == own) == (RUNS[name].surgery == OWN)
    assert given.data["search"] == 2000 and given.model.zoo == NETWORKS[0]
    assert (given.cluster.backend, given.cluster.window) == ("in-process", 1)
    assert not given.tracking.enabled
    images = BEGINNING if name in REPEATED else None
    assert (given.budget.seconds, given.budget.image_evaluations) == (7200, images)
    assert given.seed == REPEATED.get(name, 0)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("joint", ["channel", "residual", "time", "token", "weight"]),
        ("joint-channels", ["channel", "residual"]),
        ("joint-bits", ["weight"]),
    ],
)
def test_joint_searches_the_kinds_that_its_name_says(
    name: str, kinds: list[str], tmp_path: Path
) -> None:
    levels = parsed(name, tmp_path).space.levels.chosen()
    assert sorted(kind.value for kind in levels) == kinds


def test_searches_that_are_repeated_differ_by_their_seeds_alone(tmp_path: Path) -> None:
    first, *others = (parsed(name, tmp_path) for name in ("joint", *REPEATED))
    own = {"name", "seed", "budget"}
    for other in others:
        assert other.model_dump(exclude=own) == first.model_dump(exclude=own)
    assert len({first.seed, *REPEATED.values()}) == 1 + len(REPEATED)


def test_every_paper_takes_part_as_published(tmp_path: Path) -> None:
    published = {run.strategy["name"] for run in RUNS.values() if run.surgery != OWN}
    assert published == set(PAPERS)
    assert parsed("l1p", tmp_path).space.levels.channel == ()
    assert parsed("dsp", tmp_path).space.levels.density == ()
    ungated = parsed("aq4svit-greedy-own-ungated", tmp_path).strategy
    assert ungated.options == {"gate": False, "mini_batch": False}
    assert set(CRITERIA) <= set(ALLOWED["tokens"])


def test_a_trial_on_fewer_images_does_not_say_which_ones_were_held_out(tmp_path: Path) -> None:
    given = parsed("psvit", tmp_path, images=50, seconds=9)
    assert (given.data["search"], given.budget.seconds) == (50, 9)
    assert given.model.checkpoint is not None
    assert "held_out" not in load_checkpoint(given.model.checkpoint).card
    # Searches that begin at the same time do not write one file.
    assert parsed("joint", tmp_path, images=50).model.checkpoint != given.model.checkpoint


MODEL = {
    "key": "k",
    "bytes": 250,
    "bytes_ratio": 0.25,
    "macs": 60,
    "accuracy_search": 0.78,
    "accuracy_test": 0.74,
    "n_test": 10000,
    "test_difference": -0.01,
    "test_interval": [-0.02, 0.001],
    "path": "members/k",
}


def made_up_run(folder: Path, **front: Any) -> RunFolder:
    """Files of a finished run, with what a row is made of."""
    record = {
        "parent": {"accuracy_search": 0.8, "accuracy_test": 0.75, "n_search": 2000, "macs": 80},
        "limits": {"drop": 0.03, "bytes": None},
        "members": [MODEL],
        "method": {"name": "psvit", "chosen": "k", "met": True, "finished": True, "model": MODEL},
        **front,
    }
    folder.mkdir()
    (folder / "front.json").write_text(json.dumps(record))
    evaluations = {
        "key": ["a", "b", "a"],
        "state": ["infeasible", "rejected", "complete"],
        "stage": ["full", "drift", "full"],
        "bytes_ratio": [0.2, 0.1, 0.25],
        "image_evaluations": [100, 20, 100],
        "seconds": [1.0, 0.25, 1.0],
    }
    pq.write_table(pa.table(evaluations), folder / "evaluations.parquet")
    return RunFolder(folder)


def test_the_row_of_a_run(tmp_path: Path) -> None:
    row = search_row(RUNS["psvit"], "net", made_up_run(tmp_path / "run"))
    assert (row["candidates"], row["evaluations"], row["full_evaluations"]) == (2, 3, 2)
    assert (row["image_evaluations"], row["seconds"]) == (220, 2.25)
    assert row["progress"] == [(220, 0.25)]
    assert (row["trained"], row["trained_test"], row["trained_macs"]) == (0.8, 0.75, 80)
    assert row["model"] == {name: value for name, value in MODEL.items() if name != "path"}
    assert (row["met"], row["finished"], row["limit"], row["n_search"]) == (True, True, 0.03, 2000)
    assert "model" not in row["outcome"] and row["outcome"]["chosen"] == "k"


def test_a_front_alone_is_credited_with_its_smallest_member(tmp_path: Path) -> None:
    larger = {**MODEL, "key": "l", "bytes": 300}
    members = [MODEL, larger]
    run = made_up_run(tmp_path / "run", method=None, members=members)
    row = search_row(RUNS["joint"], "net", run)
    assert row["model"]["key"] == "k" and row["met"]
    row = search_row(RUNS["joint"], "net", made_up_run(tmp_path / "none", method=None, members=[]))
    assert row["model"] is None and not row["met"]


@pytest.mark.parametrize("nothing_feasible", [False, True])
def test_a_search_that_was_interrupted_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_feasible: bool
) -> None:
    begun: list[tuple[str, Path]] = []

    class Stub:
        """Leaves the files of a run; the first time it is interrupted before the last ones."""

        @classmethod
        def from_config(cls, path: Path) -> Stub:
            begun.append(("from_config", path))
            return cls()

        @classmethod
        def resume(cls, path: Path) -> Stub:
            begun.append(("resume", path))
            return cls()

        def run(self) -> None:
            folder = tmp_path / "runs" / "net.psvit"
            if len(begun) == 1:
                folder.mkdir(parents=True)
                (folder / "ledger.jsonl").touch()
                raise KeyboardInterrupt
            (folder / "ledger.jsonl").unlink()
            folder.rmdir()
            made_up_run(folder)
            if nothing_feasible:
                raise NothingFeasible("none of 3 candidates meets the constraints")

    monkeypatch.setattr(papers_runs, "Search", Stub)
    told, row = tmp_path / "told.yaml", tmp_path / "row.json"
    told.write_text(json.dumps({"name": "net.psvit", "output": str(tmp_path / "runs")}))
    with pytest.raises(KeyboardInterrupt):
        perform(told, RUNS["psvit"], "net", row)
    assert not row.exists()
    perform(told, RUNS["psvit"], "net", row)
    assert begun == [("from_config", told), ("resume", tmp_path / "runs" / "net.psvit")]
    assert json.loads(row.read_text())["method"] == "psvit"


def rows() -> list[dict[str, Any]]:
    shared = {
        "part": "search",
        "network": NETWORKS[0],
        "surgery": OWN,
        "limit": 0.015,
        "candidates": 12,
        "image_evaluations": 3000,
        "seconds": 12.5,
        "n_search": 2000,
        "trained": 0.8,
        "trained_macs": 80,
        "met": True,
        "finished": True,
        "model": MODEL,
    }
    ungated = {"method": "aq4svit-greedy-own-ungated", "image_evaluations": 9000}
    missed = {"method": "joint", "model": None, "met": False, "finished": False}
    missed["progress"] = [(1500, 0.3), (2000, 0.2)]
    repeated = {"joint-1": [(2500, 0.26), (4000, 0.1)], "joint-2": [(3500, 0.25)]}
    tokens = {
        "part": "tokens",
        "network": NETWORKS[0],
        "criterion": "energy",
        "images": 2000,
        "trained": 0.8,
        "accuracy": 0.75,
    }
    return [
        {**shared, "method": "aq4svit-greedy-own"},
        {**shared, **ungated},
        {**shared, **missed},
        *({**shared, "method": name, "progress": found} for name, found in repeated.items()),
        tokens,
    ]


def test_the_page_is_made_of_the_record_alone(tmp_path: Path) -> None:
    record = {
        "command": "make bench-papers",
        "machine": {"processor": "one", "cores": 2, "load_1_minute": 0.5},
        "date": "2026-01-01T00:00:00+00:00",
        "rows": rows(),
        "summary": summarise(rows(), 1800.0),
    }
    shown = page(record)
    assert (
        "| aq4svit-greedy-own | second order | 1.5 | 75.0% | 25.0% | -2.00 "
        "| -1.00 [-2.00, +0.10] | 12 | 3,000 | 12 |"
    ) in shown
    assert "| joint (limits not met, not finished) | second order | 1.5 | - | - | - | - |" in shown
    name = f"| {NETWORKS[0]} | aq4svit-greedy-own"
    # After 3,000 images: 0.2, 0.26 and nothing. As small after 2,000, 4,000 and 3,500.
    assert f"{name} | 3,000 | 75.0% | 74.0% | 3,500 | 0.9 | 1 of 3 |" in shown
    assert f"{name}-ungated | 9,000 | 75.0% | 80.0% | 3,500 | 2.6 | 3 of 3 |" in shown
    assert "| joint-1 |" not in shown
    assert f"| {NETWORKS[0]} | 3,000 | 9,000 | 3.00 | 75.0% | 75.0% |" in shown
    assert f"| {NETWORKS[0]} | energy | 80.00% | 75.00% | 5.00 |" in shown
    assert "10,000 test images" in shown and "2,000 search" in shown
    path = tmp_path / "papers.json"
    path.write_text(json.dumps(record))
    assert write_page(path, tmp_path / "docs" / "page.md").read_text() == shown
    assert "aq4svit-greedy-own" in show(rows())
    assert "## What gate" not in page({**record, "rows": rows()[:1]})


def test_figures_by_network_and_method() -> None:
    figures = summarise(rows(), 1800.0)
    name = f"{NETWORKS[0]}: aq4svit-greedy-own"
    assert figures[f"{name}: saved"] == 0.75
    assert figures[f"{name}: test difference"] == -0.01
    assert figures["hours"] == 0.5
    assert not any("joint" in figure for figure in figures)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Processes that were started; each writes its row, or fails if it is told `dsp`."""
    calls: list[Sequence[str]] = []

    def run(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command[3:])
        method, network, row = command[4:]
        if method != "dsp":
            Path(row).write_text(json.dumps({"part": "search", "who": f"{network}.{method}"}))
        return subprocess.CompletedProcess(command, int(method == "dsp"))

    monkeypatch.setattr(papers.subprocess, "run", run)
    return calls


def test_what_is_finished_is_not_done_again(tmp_path: Path, started: list[Sequence[str]]) -> None:
    jobs = [(NETWORKS[1], "psvit"), (NETWORKS[0], "joint"), (NETWORKS[0], "psvit")]
    do_all(Work(tmp_path, Setting(images=20)), jobs[:2], workers=2)
    assert len(started) == 2
    again = Work(tmp_path, Setting(images=20))
    do_all(again, jobs, workers=1)
    assert [call[1] for call in started[2:]] == ["psvit"]
    found = [row["who"] for row in again.rows()]
    assert found == [f"{NETWORKS[0]}.psvit", f"{NETWORKS[0]}.joint", f"{NETWORKS[1]}.psvit"]


def test_a_failure_stops_none_of_the_others(tmp_path: Path, started: list[Sequence[str]]) -> None:
    work = Work(tmp_path, Setting(images=20))
    jobs = [(NETWORKS[0], name) for name in ("dsp", "l1p", "psvit")]
    with pytest.raises(RunFailed, match=f"{NETWORKS[0]}, dsp: exit code 1"):
        do_all(work, jobs, workers=1)
    assert len(started) == 3 and len(list(work.rows())) == 2


def test_token_criteria_are_compared_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(network: str, images: int) -> list[dict[str, Any]]:
        return [{"part": "tokens", "network": network, "images": images}]

    monkeypatch.setattr(papers, "measure_tokens", measure)
    work = Work(tmp_path, Setting(images=20))
    do_all(work, [(NETWORKS[0], TOKENS)], workers=1)
    assert list(work.rows()) == [{"part": "tokens", "network": NETWORKS[0], "images": 20}]


@pytest.mark.skipif(not RECORD.is_file(), reason="make bench-papers has not been run")
def test_the_page_is_the_record() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert (ROOT / "docs" / "papers-results.md").read_text(encoding="utf-8") == page(record)
