"""A search that was cut off anywhere goes on and ends as if nothing had happened."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest
from simulated import SimulatedEvaluator
from simulated_search import Setup, digest, events, front_of, run

from spikefront.search import ledger as ledger_module
from spikefront.search.controller import Controller
from spikefront.search.ledger import Ledger
from spikefront.spaces.errors import BadInput, RunFailed

STRATEGIES = ("random", "nsga2")


def searching(strategy: str, candidates: int = 20) -> Setup:
    evaluator = SimulatedEvaluator(failing=0.1)
    return Setup(strategy=strategy, window=5, population=6, evaluator=evaluator).with_budget(
        candidates
    )


def summary(controller: Controller) -> object:
    counts = controller.counts.to_dict()
    return front_of(controller), {k: n for k, n in counts.items() if k != "duplicates"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_cut_off_after_any_event(tmp_path: Path, strategy: str):
    setup = searching(strategy)
    whole, part = tmp_path / "whole", tmp_path / "part"
    expected = summary(run(setup, whole))
    lines = whole.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 2 * 20
    for kept in range(1, len(lines) + 1):
        part.write_bytes(b"".join(lines[:kept]))
        backend = setup.make_backend(workers=3, seed=kept)
        assert summary(run(setup, part, backend)) == expected, kept
        assert digest(part) == digest(whole), kept


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_torn_at_any_byte(tmp_path: Path, strategy: str):
    setup = searching(strategy)
    whole, part = tmp_path / "whole", tmp_path / "part"
    expected = summary(run(setup, whole))
    data = whole.read_bytes()
    header = data.index(b"\n") + 1
    rng = random.Random(strategy)
    for _ in range(15):
        cut = rng.randrange(header, len(data))
        part.write_bytes(data[:cut])
        assert summary(run(setup, part)) == expected, cut
        assert digest(part) == digest(whole), cut


def test_resuming_evaluates_only_what_was_not_committed(tmp_path: Path):
    setup = searching("random", 30)
    path = tmp_path / "ledger"
    with pytest.raises(KeyboardInterrupt):
        run(setup, path, setup.make_backend(interrupt_at=12))
    committed = {event["index"] for event in events(path, "evaluated")}
    backend = setup.make_backend()
    run(setup, path, backend)
    assert len(committed) == 12
    assert [task for task, _ in backend.requests] == list(range(12, 30))


def test_resuming_a_finished_search_does_nothing(tmp_path: Path):
    setup = searching("nsga2")
    path = tmp_path / "ledger"
    expected = summary(run(setup, path))
    before = path.read_bytes()
    backend = setup.make_backend()
    assert summary(run(setup, path, backend)) == expected
    assert backend.requests == []
    assert path.read_bytes() == before


def test_requests_are_sent_again_as_they_were(tmp_path: Path):
    """Gate and audit belong to what an evaluation is, so a resumed one must see the same."""
    setup = searching("random", 40)
    first, second = setup.make_backend(), setup.make_backend()
    run(setup, tmp_path / "whole", first)
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    (tmp_path / "part").write_bytes(b"".join(lines[:50]))
    run(setup, tmp_path / "part", second)
    assert second.requests == first.requests[-len(second.requests) :]
    assert len(second.requests) > 10


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_interrupted_at_every_wait(tmp_path: Path, strategy: str):
    setup = searching(strategy, 12)
    expected = summary(run(setup, tmp_path / "whole"))
    for wait in range(12):
        path = tmp_path / f"{wait}"
        with pytest.raises(KeyboardInterrupt):
            run(setup, path, setup.make_backend(workers=3, seed=wait, interrupt_at=wait))
        assert summary(run(setup, path)) == expected, wait
        assert digest(path) == digest(tmp_path / "whole"), wait


def test_interrupt_leaves_everything_durable(tmp_path: Path):
    """Nothing may wait in a buffer: the ledger is read while the controller still holds it."""
    setup = searching("random")
    path = tmp_path / "ledger"
    backend = setup.make_backend(interrupt_at=9)
    with Ledger.create(path, {"fingerprints": {}}, group_ms=float("inf")) as ledger, backend:
        controller = setup.make_controller(ledger, backend)
        with pytest.raises(KeyboardInterrupt):
            controller.run()
        assert len(events(path, "evaluated")) == controller.counts.evaluations == 9
        assert len(events(path, "suggested")) == 9 + setup.window


def test_interrupted_again_and_again(tmp_path: Path):
    setup = searching("nsga2", 24)
    run(setup, tmp_path / "whole")
    path = tmp_path / "ledger"
    for attempt in range(6):
        with pytest.raises(KeyboardInterrupt):
            run(setup, path, setup.make_backend(workers=2, seed=attempt, interrupt_at=3))
    run(setup, path)
    assert digest(path) == digest(tmp_path / "whole")


@pytest.mark.parametrize("room", [0, 700, 9_000])
def test_full_disk_fails_the_run_and_keeps_what_was_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
):
    setup = searching("nsga2")
    run(setup, tmp_path / "whole")
    path = tmp_path / "ledger"
    real, left = os.pwrite, [room]

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= (taken := real(fd, bytes(data)[: left[0]], offset))
        return taken

    backend = setup.make_backend()
    with Ledger.create(path, {"fingerprints": {}}, group_ms=0) as ledger, backend:
        controller = setup.make_controller(ledger, backend)
        with monkeypatch.context() as patch:
            patch.setattr(ledger_module.os, "pwrite", pwrite)
            with pytest.raises(RunFailed, match="committed so far are safe") as failure:
                controller.run()
        assert failure.value.exit_code == 4
    assert len(events(path)) == ledger.committed < 40
    run(setup, path)
    assert digest(path) == digest(tmp_path / "whole")


def test_a_larger_budget_goes_on_where_the_search_ended(tmp_path: Path):
    path = tmp_path / "ledger"
    run(searching("nsga2"), path)
    before = events(path)
    controller = run(searching("nsga2", 30), path)
    assert controller.counts.evaluations == 30
    assert events(path)[: len(before)] == before


def test_another_strategy_is_refused(tmp_path: Path):
    path = tmp_path / "ledger"
    run(searching("random"), path)
    before = path.read_bytes()
    with pytest.raises(BadInput, match=r"suggestion \d+ was .* and would be .* now") as refused:
        run(searching("nsga2"), path)
    assert refused.value.exit_code == 2
    assert path.read_bytes() == before


def test_duplicates_survive_a_resume(tmp_path: Path):
    setup = searching("random")
    path = tmp_path / "ledger"
    found = run(setup, path, setup.make_backend(workers=3, repeats=0.5)).counts.duplicates
    assert found == len(events(path, "duplicate")) > 3
    assert run(setup, path).counts.duplicates == found
