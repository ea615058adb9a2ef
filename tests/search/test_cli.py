"""The command line itself: verbs, exit codes, and what goes to which stream."""

from __future__ import annotations

import argparse
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from report_run import make_run
from small_model import Cli

from spikefront.search.cli import main as main_module
from spikefront.search.cli.main import VERBS, main
from spikefront.search.cli.table import front_table, table
from spikefront.search.cli.verb import Result, Verb
from spikefront.spaces.errors import BadInput, CorruptFile, NothingFeasible, RunFailed


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def install(monkeypatch: pytest.MonkeyPatch, run: Callable[[], Result]) -> None:
    """Give the command line one verb that does this."""
    verb = Verb("try", "try it", lambda parser: None, lambda options: run())
    monkeypatch.setattr(main_module, "VERBS", (verb,))


def raising(error: BaseException) -> Callable[[], Result]:
    def run() -> Result:
        raise error

    return run


def test_no_verb(cli: Cli):
    ran = cli()
    assert ran.code == 2
    assert ran.out == ""
    assert "usage: spikefront" in ran.err
    for verb in VERBS:
        assert verb.summary in ran.err


def test_unknown_verb(cli: Cli):
    ran = cli("serach", "demo.yaml")
    assert ran.code == 2
    assert ran.out == ""
    assert "invalid choice: 'serach'" in ran.err
    assert "search" in ran.err.partition("invalid choice")[2]


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_has_help_and_json(cli: Cli, verb: str):
    ran = cli(verb, "--help")
    assert ran.code == 0
    assert "--json" in ran.out


@pytest.mark.parametrize("arguments", [["search", "a.yaml", "--worker-count", "3"], ["search"]])
def test_wrong_options(cli: Cli, arguments: list[str]):
    ran = cli(*arguments, "--json")
    assert ran.code == 2
    assert ran.out == ""
    assert "usage: spikefront" in ran.err


def test_a_number_that_is_none(cli: Cli):
    ran = cli("search", "a.yaml", "--workers", "many")
    assert ran.code == 2
    assert "argument --workers: invalid int value: 'many'" in ran.err


def test_result_as_text(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, lambda: Result("all well", {"well": True}))
    assert cli("try") == (0, "all well\n", "")


def test_result_as_json(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, lambda: Result("all well", {"well": True, "share": 0.1}, exit_code=4))
    ran = cli("try", "--json")
    assert (ran.code, ran.err) == (4, "")
    assert ran.record == {"well": True, "share": 0.1}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("that is no config"), 2),
        (CorruptFile("that is no file"), 2),
        (NothingFeasible("none of them"), 3),
        (RunFailed("no worker comes up"), 4),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/some/file"), 4),
    ],
)
def test_errors_become_exit_codes(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
):
    install(monkeypatch, raising(error))
    assert cli("try") == (code, "", f"spikefront: {error}\n")
    ran = cli("try", "--json")
    assert (ran.code, ran.err) == (code, f"spikefront: {error}\n")
    assert ran.record == {"error": str(error), "exit_code": code}


def test_interrupt_with_and_without_advice(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, raising(KeyboardInterrupt("go on with that")))
    assert cli("try") == (130, "", "spikefront: interrupted; go on with that\n")
    install(monkeypatch, raising(KeyboardInterrupt()))
    assert cli("try") == (130, "", "spikefront: interrupted\n")
    assert cli("try", "--json").record == {"error": "interrupted", "exit_code": 130}


def test_a_bug_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, raising(ZeroDivisionError("division by zero")))
    with pytest.raises(ZeroDivisionError):
        main(["try"])


_PIPED = """
import sys
from spikefront.search.cli import main as main_module
from spikefront.search.cli.verb import Result, Verb
verb = Verb("try", "", lambda parser: None, lambda options: Result("x" * 200_000, {}, exit_code=4))
main_module.VERBS = (verb,)
sys.stdin.readline()
sys.exit(main_module.main(["try"]))
"""


def test_a_reader_that_has_gone_is_no_error():
    """The exit code stays that of the verb, as `spikefront verify … | head` needs it."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PIPED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.write("go\n")
    process.stdin.close()
    assert process.stderr.read() == ""
    assert process.wait() == 4
    process.stderr.close()


def test_report_of_no_run(cli: Cli, tmp_path: Path):
    ran = cli("report", tmp_path / "missing")
    assert (ran.code, ran.out) == (2, "")
    assert "give the folder of a run" in ran.err
    ran = cli("report", tmp_path)
    assert ran.code == 2
    assert "front.json: not found; a run's folder holds it once a search has ended" in ran.err


def test_report_into_a_folder_that_is_missing(cli: Cli, tmp_path: Path):
    make_run(tmp_path / "run")
    ran = cli("report", tmp_path / "run", "--svg", tmp_path / "pictures" / "front.svg")
    assert ran.code == 2
    assert f"{tmp_path / 'pictures'}: no such folder" in ran.err


def test_report_prints_its_paths(cli: Cli, tmp_path: Path):
    make_run(tmp_path / "run")
    ran = cli("report", tmp_path / "run", "--svg", tmp_path / "front.svg")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        str(tmp_path / "run" / "report.html"),
        str(tmp_path / "front.svg"),
    ]


def test_table_is_aligned():
    text = table(("name", "bytes"), [("a", "1"), ("longer", "1,000")])
    assert text.splitlines() == [
        "name    bytes",
        "------  -----",
        "a           1",
        "longer  1,000",
    ]


def test_front_table_shows_both_splits_and_the_interval(tmp_path: Path):
    record = make_run(tmp_path)
    for member in record["members"]:
        member["test_difference"] = member["accuracy_test"] - record["parent"]["accuracy_test"]
    record["members"][0] |= {
        "accuracy_test": None,
        "test_interval": None,
        "test_difference": None,
        "energy_mj": None,
    }
    lines = front_table(json.loads(json.dumps(record))).splitlines()
    assert len(lines) == 2 + 1 + len(record["members"])
    assert "100.0 %" in lines[2]
    assert "76.20 %" in lines[2]
    untested = lines[3].split()
    assert untested.count("-") == 3
    member = record["members"][1]
    low, high = (100 * end for end in member["test_interval"])
    assert f"[{low:+.2f}, {high:+.2f}]" in lines[4]
    assert f"{100 * member['accuracy_search']:.2f} %" in lines[4]


def test_verbs_are_unlike():
    names = [verb.name for verb in VERBS]
    assert len(set(names)) == len(names)
    for verb in VERBS:
        parser = argparse.ArgumentParser()
        verb.arguments(parser)
        assert verb.summary
