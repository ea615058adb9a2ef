from __future__ import annotations

import copy
import errno
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikefront.search import ledger as ledger_module
from spikefront.search.ledger import Ledger, trace_digest
from spikefront.spaces.errors import BadInput, CorruptFile, RunFailed

HEADER = {"fingerprints": {"model": "aa", "data": "bb"}, "seed": 7}
NEVER = math.inf

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def note(index: int) -> dict[str, object]:
    return {"event": "evaluated", "index": index}


def write(path: Path, count: int) -> Path:
    with Ledger.create(path, HEADER, group_ms=NEVER) as ledger:
        for index in range(count):
            ledger.append(note(index))
    return path


def indices(path: Path) -> list[int]:
    return [event["index"] for event in Ledger.read(path)[1]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "my-run"
    folder.mkdir()
    return folder / "ledger.jsonl"


def test_what_is_written_is_read_back(path: Path):
    event = {"event": "evaluated", "measures": {"accuracy": 0.1 + 0.2}, "text": "θ\n\u2028\udc80"}
    with Ledger.create(path, HEADER) as ledger:
        assert ledger.append({"event": "suggested"}) == 1
        assert ledger.append(event) == 2
    header, events = Ledger.read(path)
    assert header == {"event": "header", "schema": 1, **HEADER}
    assert events == [{"event": "suggested", "n": 1}, {"n": 2, **event}]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=json_values)
def test_any_json_survives(path: Path, payload: object):
    path.unlink(missing_ok=True)
    with Ledger.create(path, HEADER) as ledger:
        ledger.append({"event": "note", "payload": payload})
    assert Ledger.read(path)[1][0]["payload"] == payload


def test_every_line_is_json_and_ascii(path: Path):
    write(path, 3)
    lines = path.read_bytes().decode("ascii").splitlines()
    assert [json.loads(line)["e"].get("n") for line in lines] == [None, 1, 2, 3]


def test_numbers_that_are_not_finite_survive(path: Path):
    with Ledger.create(path, HEADER) as ledger:
        ledger.append({"event": "evaluated", "drift": [math.nan, math.inf]})
    assert repr(Ledger.read(path)[1][0]["drift"]) == "[nan, inf]"


def test_header_in_memory_is_as_it_will_be_read(path: Path):
    with Ledger.create(path, {"fingerprints": {"slices": (1, 2)}}) as ledger:
        assert ledger.header == Ledger.read(path)[0]
        assert ledger.header["fingerprints"]["slices"] == [1, 2]


def test_append_buffers_a_copy_until_sync(path: Path):
    event = note(0)
    with Ledger.create(path, HEADER, group_ms=NEVER) as ledger:
        ledger.append(event)
        event["index"] = 99
        ledger.append(event)
        assert (ledger.committed, indices(path)) == (0, [])
        ledger.sync()
        assert (ledger.committed, indices(path)) == (2, [0, 99])


def test_append_syncs_once_the_oldest_has_waited(path: Path, monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr(ledger_module.time, "monotonic", lambda: now)
    with Ledger.create(path, HEADER, group_ms=50) as ledger:
        ledger.append(note(0))
        now += 0.04
        ledger.append(note(1))
        assert ledger.committed == 0
        now += 0.02
        ledger.append(note(2))
        assert ledger.committed == 3
        ledger.append(note(3))
        assert ledger.committed == 3


def test_a_group_is_one_write_and_one_fsync(path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []

    def counted(name: str) -> Callable[..., int | None]:
        real = getattr(os, name)
        return lambda *args: (calls.append(name), real(*args))[1]

    with Ledger.create(path, HEADER, group_ms=NEVER) as ledger:
        for name in ("pwrite", "fsync"):
            monkeypatch.setattr(ledger_module.os, name, counted(name))
        for index in range(100):
            ledger.append(note(index))
        ledger.sync()
        ledger.sync()
        assert calls == ["pwrite", "fsync"]


def test_create_refuses_an_existing_file(path: Path):
    write(path, 2)
    before = path.read_bytes()
    with pytest.raises(BadInput, match="exists: resume"):
        Ledger.create(path, HEADER)
    assert path.read_bytes() == before


@pytest.mark.parametrize("header", [{}, {"fingerprints": "abc"}])
def test_create_needs_fingerprints(path: Path, header: dict[str, object]):
    with pytest.raises(BadInput, match="fingerprints"):
        Ledger.create(path, header)
    assert not path.exists()


def test_missing_folders_and_files_are_bad_input(path: Path):
    with pytest.raises(BadInput, match="cannot create"):
        Ledger.create(path.parent / "missing" / "ledger.jsonl", HEADER)
    for opener in (Ledger.open, Ledger.read):
        with pytest.raises(BadInput, match="cannot open"):
            opener(path)


@pytest.mark.parametrize("event", [{}, {"event": 3}, {"event": "header"}, {"event": "a", "n": 1}])
def test_malformed_events_are_refused_and_leave_no_gap(path: Path, event: dict[str, object]):
    with Ledger.create(path, HEADER) as ledger:
        with pytest.raises(BadInput, match="'event'"):
            ledger.append(event)
        with pytest.raises(TypeError):
            ledger.append({"event": "note", "what": object()})
        assert ledger.append(note(0)) == 1
    assert indices(path) == [0]


def test_resume_goes_on_where_the_record_ends(path: Path):
    write(path, 3)
    with Ledger.open(path, HEADER["fingerprints"]) as ledger:  # type: ignore[arg-type]
        assert [event["n"] for event in ledger.replayed] == [1, 2, 3]
        assert (ledger.committed, ledger.torn_bytes, ledger.header["seed"]) == (3, 0, 7)
        assert ledger.append(note(3)) == 4
    assert indices(path) == [0, 1, 2, 3]


def test_a_file_cut_anywhere_resumes_with_its_whole_lines(path: Path):
    data = write(path, 3).read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(ends[0], len(data) + 1):
        path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends) - 1
        assert indices(path) == list(range(whole))
        assert path.stat().st_size == cut, "reading changes nothing"
        with Ledger.open(path) as ledger:
            assert ledger.torn_bytes == cut - ends[whole]
            assert ledger.append(note(whole)) == whole + 1
        assert indices(path) == list(range(whole + 1))


@pytest.mark.parametrize("tail", [b"\0" * 4096, b'{"c":"00000000"}\n', b"a\nb\nc", b"\n\n"])
def test_garbage_at_the_end_is_cut_off(path: Path, tail: bytes):
    good = write(path, 2).read_bytes()
    path.write_bytes(good + tail)
    with Ledger.open(path) as ledger:
        assert ledger.torn_bytes == len(tail)
    assert path.read_bytes() == good


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_is_never_taken_for_a_record(path: Path, data: st.DataObject):
    path.unlink(missing_ok=True)
    good = write(path, 4).read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = bytearray(good)
    damaged[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    last_lines = good.rfind(b"\n", 0, good.rfind(b"\n", 0, -1))
    try:
        found = indices(path)
    except CorruptFile:
        assert at < good.rfind(b"\n", 0, -1), "damage to the last line alone can be repaired"
        return
    assert at > last_lines, "damage before good lines must be refused"
    assert found == [0, 1, 2][: len(found)]


def test_damage_in_the_middle_is_refused_and_nothing_is_cut(path: Path):
    lines = write(path, 3).read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"index":1', b'"index":8')
    path.write_bytes(b"".join(lines))
    with pytest.raises(CorruptFile, match=r"line 3 \(byte \d+\) is damaged"):
        Ledger.open(path)
    assert path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize("order", [(0, 2), (0, 1, 1), (0, 2, 1), (1, 2)])
def test_lost_doubled_and_swapped_lines_are_refused(path: Path, order: tuple[int, ...]):
    lines = write(path, 2).read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[i] for i in order))
    with pytest.raises(CorruptFile, match=r"expected event|does not begin with"):
        Ledger.read(path)


@pytest.mark.parametrize("content", [b"", b'{"c":"12'])
def test_a_file_without_a_header_says_what_to_do(path: Path, content: bytes):
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match="delete it and start"):
        Ledger.open(path)


def test_other_fingerprints_are_refused_with_a_diff(path: Path):
    torn = write(path, 1).read_bytes() + b"torn"
    path.write_bytes(torn)
    with pytest.raises(BadInput) as caught:
        Ledger.open(path, {"model": "aa", "data": "cc", "gate": 1})
    message = str(caught.value)
    assert '  data: recorded "bb", now "cc"\n  gate: recorded nothing, now 1\n' in message
    assert "model" not in message
    assert path.read_bytes() == torn, "a refused ledger is left as it was, and unlocked"
    Ledger.open(path, {"model": "aa", "data": "bb"}).close()


def test_equal_fingerprints_may_differ_in_python_type(path: Path):
    Ledger.create(path, {"fingerprints": {"slices": (1, 2), "a": {"x": 1, "y": 2}}}).close()
    with Ledger.open(path, {"a": {"y": 2, "x": 1}, "slices": [1, 2]}) as ledger:
        assert ledger.replayed == []


def test_a_newer_schema_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger_module, "SCHEMA", 2)
    write(path, 1)
    monkeypatch.setattr(ledger_module, "SCHEMA", 1)
    for opener in (Ledger.open, Ledger.read):
        with pytest.raises(BadInput, match="schema: recorded 2, now 1"):
            opener(path)


def test_a_second_writer_is_refused_while_readers_are_not(path: Path):
    with Ledger.create(path, HEADER) as ledger:
        with pytest.raises(BadInput, match="run 'my-run' is held by another process"):
            Ledger.open(path)
        ledger.append(note(0))
        ledger.sync()
        assert indices(path) == [0]
    Ledger.open(path).close()


def fail_with(code: int, after: int = 0) -> Callable[..., int]:
    """A pwrite that takes `after` bytes and then fails."""
    real, left = os.pwrite, [after]

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if left[0] == 0:
            raise OSError(code, os.strerror(code))
        left[0] -= (taken := real(fd, bytes(data)[: left[0]], offset))
        return taken

    return pwrite


def full_fsync(fd: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("pwrite", fail_with(errno.ENOSPC)),
        ("pwrite", fail_with(errno.ENOSPC, after=70)),
        ("pwrite", fail_with(errno.EDQUOT, after=1)),
        ("fsync", full_fsync),
    ],
)
def test_no_space_left_keeps_what_was_committed(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str, fault: Callable[..., object]
):
    with Ledger.create(path, HEADER, group_ms=NEVER) as ledger:
        ledger.append(note(0))
        ledger.sync()
        before = path.read_bytes()
        ledger.append(note(1))
        ledger.append(note(2))
        with monkeypatch.context() as patch:
            patch.setattr(ledger_module.os, call, fault)
            with pytest.raises(RunFailed, match="1 events committed so far are safe; free at"):
                ledger.sync()
        with pytest.raises(RunFailed, match="is closed"):
            ledger.append(note(3))
    assert path.read_bytes() == before
    with Ledger.open(path) as ledger:
        assert (ledger.torn_bytes, ledger.append(note(1))) == (0, 2)


def test_another_write_error_does_not_speak_of_space(path: Path, monkeypatch: pytest.MonkeyPatch):
    ledger = Ledger.create(path, HEADER, group_ms=NEVER)
    ledger.append(note(0))
    monkeypatch.setattr(ledger_module.os, "pwrite", fail_with(errno.EIO))
    with pytest.raises(RunFailed, match=r"safe; see to that disk"):
        ledger.close()


def test_a_failed_create_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger_module.os, "pwrite", fail_with(errno.ENOSPC, after=9))
    with pytest.raises(RunFailed, match="No space left"):
        Ledger.create(path, HEADER)
    assert not path.exists()


def test_short_writes_are_completed(path: Path, monkeypatch: pytest.MonkeyPatch):
    real = os.pwrite
    monkeypatch.setattr(
        ledger_module.os, "pwrite", lambda fd, data, at: real(fd, bytes(data)[:7], at)
    )
    assert indices(write(path, 3)) == [0, 1, 2]


def test_an_interrupted_sync_is_repeated_without_doubling(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(fd: int) -> None:
        raise KeyboardInterrupt

    with Ledger.create(path, HEADER, group_ms=NEVER) as ledger:
        ledger.append(note(0))
        with monkeypatch.context() as patch:
            patch.setattr(ledger_module.os, "fsync", interrupted)
            with pytest.raises(KeyboardInterrupt):
                ledger.sync()
        ledger.append(note(1))
    assert indices(path) == [0, 1]


EVENTS = [
    {"event": "suggested", "n": 1, "candidate": {"time": {"all": 2}}, "time": 1.0},
    {"event": "note", "n": 2, "text": "a worker joined"},
    {"event": "suggested", "n": 3, "candidate": {"time": {"all": 3}}},
    {"event": "evaluated", "n": 4, "worker": "w1", "evaluation": {"drop": 0.5, "timing": {"s": 1}}},
]


def test_digest_does_not_see_what_follows_timing():
    other = copy.deepcopy([EVENTS[0], EVENTS[3], EVENTS[2], {"event": "duplicate", "n": 9}])
    other[0]["time"] = 2.0
    other[1]["worker"] = "w2"
    other[1]["evaluation"]["timing"] = {"s": 9, "host": "x"}
    other[2]["n"] = 17
    assert trace_digest(other) == trace_digest(EVENTS)


@pytest.mark.parametrize(
    "change",
    [
        lambda events: events[0].update(candidate={"time": {"all": 4}}),
        lambda events: events[3]["evaluation"].update(drop=0.25),
        lambda events: events.pop(3),
        lambda events: events.reverse(),
        lambda events: events[2].update(event="hit"),
    ],
    ids=["candidate", "measure", "missing", "order within a kind", "kind"],
)
def test_digest_sees_what_was_decided(change: Callable[[list[dict[str, object]]], object]):
    changed = copy.deepcopy(EVENTS)
    change(changed)
    assert trace_digest(changed) != trace_digest(EVENTS)


def test_digest_survives_the_file(path: Path):
    event = {"event": "evaluated", "choices": (("time", 2),), "drop": 0.1 + 0.2}
    with Ledger.create(path, HEADER) as ledger:
        ledger.append(event)
    assert trace_digest(Ledger.read(path)[1]) == trace_digest([event])
