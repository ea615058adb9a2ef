"""Every format is read as it was written, as spikingjelly reads it, and damage is named."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from event_files import (
    AEDAT2_HEADER,
    AEDAT3_HEADER,
    Columns,
    nmnist_bytes,
    packet,
    part,
    random_events,
    special_packet,
    spikingjelly_functions,
    write_aedat2,
    write_aedat3,
    write_words,
)

from spikefront.evaluators.data.events.aedat2 import read_aedat2
from spikefront.evaluators.data.events.aedat3 import read_aedat3
from spikefront.evaluators.data.events.event import EVENT, Events
from spikefront.evaluators.data.events.nmnist import read_nmnist
from spikefront.evaluators.data.events.npz import events_of, frames_of, read_npz
from spikefront.spaces import BadInput
from spikefront.spaces.errors import CorruptFile

SENSOR = (128, 128)


def check(events: Events, expected: Columns) -> None:
    assert events.dtype == EVENT
    for name, column in expected.items():
        assert events[name].tolist() == np.asarray(column).tolist(), name


def test_aedat2_is_what_was_recorded_and_what_spikingjelly_reads(tmp_path: Path) -> None:
    events = random_events(300, SENSOR)
    path = write_aedat2(tmp_path / "cifar10_cat_0.aedat", events)
    check(read_aedat2(path), events)
    check(read_aedat2(path), spikingjelly_functions("cifar10_dvs")["_load_origin_data"](path))


def test_aedat2_keeps_times_beyond_31_bits_and_skips_what_came_through_the_plug(
    tmp_path: Path,
) -> None:
    words = np.array([[0, 5], [1 << 15, 6], [(3 << 8) | (5 << 1) | 1, 0xFFFFFFFF]])
    events = read_aedat2(write_words(tmp_path / "a.aedat", words))
    check(events, {"t": [5, 0xFFFFFFFF], "x": [127, 124], "y": [127, 122], "p": [1, 0]})


def test_aedat3_joins_packets_and_leaves_out_other_types(tmp_path: Path) -> None:
    events = random_events(200, SENSOR, 1)
    packets = [
        special_packet(),
        packet(part(events, slice(0, 70))),
        special_packet(0),
        packet(part(events, slice(70, 200))),
    ]
    path = write_aedat3(tmp_path / "user01.aedat", packets)
    check(read_aedat3(path), events)
    check(read_aedat3(path), spikingjelly_functions("utils")["load_aedat_v3"](path))


def test_aedat3_continues_31_bits_of_time_by_the_overflow(tmp_path: Path) -> None:
    first, second = random_events(5, SENSOR, 2, start=2**31 - 1000), random_events(5, SENSOR, 3)
    path = write_aedat3(tmp_path / "a.aedat", [packet(first), packet(second, overflow=2)])
    assert read_aedat3(path)["t"].tolist() == [*first["t"], *(second["t"] + 2 * 2**31)]
    assert spikingjelly_functions("utils")["load_aedat_v3"](path)["t"].tolist() == [
        *first["t"],
        *(second["t"] + 2 * 2**31),
    ]


def test_aedat3_leaves_out_invalid_events_and_empty_room(tmp_path: Path) -> None:
    events, ghosts = random_events(6, SENSOR, 4), random_events(4, SENSOR, 5)
    packets = [packet(ghosts, valid=0), packet(events, spare=3)]
    check(read_aedat3(write_aedat3(tmp_path / "a.aedat", packets)), events)


def test_nmnist_is_what_was_recorded_and_what_spikingjelly_reads(tmp_path: Path) -> None:
    events = random_events(250, (34, 34), 6, start=2**22)
    path = tmp_path / "00002.bin"
    path.write_bytes(nmnist_bytes(events))
    check(read_nmnist(path), events)
    check(read_nmnist(path), spikingjelly_functions("utils")["load_ATIS_bin"](path))


def test_nmnist_overflow_marks_lift_later_times(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    column = np.array
    events = {
        "x": column([1, 0, 2]),
        "y": column([3, 240, 4]),
        "t": column([8000, 0, 10]),
        "p": column([1, 0, 0]),
    }
    path.write_bytes(nmnist_bytes(events))
    check(
        read_nmnist(path),
        {"t": column([8000, 8202]), "x": column([1, 2]), "y": column([3, 4]), "p": column([1, 0])},
    )


@pytest.mark.parametrize("kind", [np.uint8, np.int32, bool])
def test_npz_events_of_any_whole_type(tmp_path: Path, kind: type) -> None:
    events = random_events(40, (20, 30), 7)
    path = tmp_path / "a.npz"
    np.savez(
        path,
        t=events["t"].astype(np.uint32),
        x=events["x"],
        y=events["y"],
        p=events["p"].astype(kind),
    )
    check(events_of(path, read_npz(path), (20, 30)), events)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.uint8])
def test_npz_frames_are_counts(tmp_path: Path, kind: type) -> None:
    counts = np.random.default_rng(0).integers(0, 200, (3, 2, 4, 5))
    np.savez(tmp_path / "a.npz", frames=counts.astype(kind))
    frames = frames_of(tmp_path / "a.npz", read_npz(tmp_path / "a.npz"))
    assert frames.dtype == np.int64
    assert np.array_equal(frames, counts)


def refuses(read: Callable[[Path], object], path: Path, *said: str) -> None:
    with pytest.raises(CorruptFile) as caught:
        read(path)
    for words in (str(path), *said):
        assert words in str(caught.value), str(caught.value)


EVENTS = random_events(10, (34, 34), 8)


def changed(index: int, **values: int) -> Columns:
    """The events with other values at one place."""
    events = {name: column.copy() for name, column in EVENTS.items()}
    for name, value in values.items():
        events[name][index] = value
    return events


def test_damaged_aedat2(tmp_path: Path) -> None:
    path = write_aedat2(tmp_path / "a.aedat", EVENTS)
    whole, start = path.read_bytes(), len(AEDAT2_HEADER)
    for length in (len(whole) - 1, len(whole) - 4, start + 3):
        path.write_bytes(whole[:length])
        refuses(read_aedat2, path, "ends within an event", f"byte {length}")
    path.write_bytes(whole[:start])
    refuses(read_aedat2, path, "no events")
    path.write_bytes(whole[: start - 5])
    refuses(read_aedat2, path, "ends within its header")
    path.write_bytes(b"")
    refuses(read_aedat2, path, "no AEDAT 2.0")
    words = np.array([[0, 5], [1 << 16, 6]])
    refuses(read_aedat2, write_words(path, words), "event 1", f"byte {start + 8}", "0x10000")
    refuses(read_aedat2, write_aedat2(path, changed(4, t=0)), "event 4", "times must never fall")
    with pytest.raises(BadInput, match="cannot be read"):
        read_aedat2(tmp_path / "missing.aedat")


def test_damaged_aedat3(tmp_path: Path) -> None:
    path, start = tmp_path / "a.aedat", len(AEDAT3_HEADER)
    whole = write_aedat3(path, [special_packet(), packet(EVENTS)]).read_bytes()
    second = start + 28 + 16
    for length, said in (
        (len(whole) - 1, "1 bytes are missing"),
        (second + 28, "80 bytes are missing"),
        (second + 27, "its header is truncated"),
    ):
        path.write_bytes(whole[:length])
        refuses(read_aedat3, path, f"packet at byte {second}", said)
    path.write_bytes(whole[:second])
    refuses(read_aedat3, path, "no events")
    refuses(read_aedat3, write_aedat3(path, [], b"#!AER-DAT3.1\r\n"), "header does not end")
    refuses(read_aedat3, write_aedat3(path, [], AEDAT2_HEADER), "no AEDAT 3.1")
    packed = AEDAT3_HEADER.replace(b"RAW", b"SerializedTS")
    refuses(read_aedat3, write_aedat3(path, [], packed), "SerializedTS; only RAW")
    refuses(read_aedat3, write_aedat3(path, [packet(changed(3, y=128))]), "event 3: y is 128")
    refuses(read_aedat3, write_aedat3(path, [packet(changed(7, x=500))]), "event 7: x is 500")
    refuses(read_aedat3, write_aedat3(path, [packet(changed(6, t=1))]), "event 6", "fall")
    refuses(read_aedat3, write_aedat3(path, [packet(EVENTS), packet(EVENTS)]), "event 10", "fall")


@pytest.mark.parametrize(
    "header",
    [
        {"number": 11},
        {"number": -1},
        {"size": 0},
        {"size": -8, "capacity": -10},
        {"overflow": -1},
        {"capacity": -10},
    ],
)
def test_impossible_packets(tmp_path: Path, header: dict[str, int]) -> None:
    path = write_aedat3(tmp_path / "a.aedat", [packet(EVENTS, **header)])
    refuses(read_aedat3, path, f"packet at byte {len(AEDAT3_HEADER)}", "cannot be")


def test_packets_that_promise_more_than_there_is(tmp_path: Path) -> None:
    path = write_aedat3(tmp_path / "a.aedat", [packet(EVENTS, capacity=2**31 - 1)])
    refuses(read_aedat3, path, "bytes are missing")
    path = write_aedat3(tmp_path / "a.aedat", [packet(EVENTS, size=4)])
    refuses(read_aedat3, path, "polarity events of 4 bytes")


def test_damaged_nmnist(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for content, *said in (
        (nmnist_bytes(EVENTS)[:-2], "ends within an event, at byte 48"),
        (b"", "no events"),
        (nmnist_bytes(changed(2, x=34)), "event 2: x is 34; allowed: 0..33"),
        (nmnist_bytes(changed(9, y=239)), "event 9: y is 239"),
        (nmnist_bytes(changed(5, t=0)), "event 5: time 0 us is after"),
    ):
        path.write_bytes(content)
        refuses(read_nmnist, path, *said)


def read_events(path: Path) -> Events:
    return events_of(path, read_npz(path), (34, 34))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"t": EVENTS["t"][:4]}, "unlike lengths (t: 4, x: 10, y: 10, p: 10)"),
        ({"t": EVENTS["t"] / 2}, "t is float64 (10,)"),
        ({"x": EVENTS["x"][None]}, "x is int64 (1, 10)"),
        ({"x": EVENTS["x"] - 50}, "event 0: x is -"),
        ({"p": EVENTS["p"] * 2 - 1}, "polarity is -1; allowed: 0..1"),
        ({"t": EVENTS["t"] - 10**6}, "us is below 0"),
        ({"t": np.full(10, 2**63, np.uint64)}, "t is as large as 9223372036854775808"),
        (dict.fromkeys("txyp", np.zeros(0, np.int64)), "no events"),
    ],
)
def test_damaged_npz_events(tmp_path: Path, arrays: Columns, said: str) -> None:
    np.savez(tmp_path / "a.npz", **{**EVENTS, **arrays})
    refuses(read_events, tmp_path / "a.npz", said)


def read_frames(path: Path) -> np.ndarray:
    return frames_of(path, read_npz(path))


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (np.zeros((2, 3, 4, 4)), "shape (2, 3, 4, 4)"),
        (np.zeros((2, 4, 4)), "shape (2, 4, 4)"),
        (np.zeros((0, 2, 4, 4)), "shape (0, 2, 4, 4)"),
        (np.full((1, 2, 2, 2), 0.5), "no counts"),
        (np.full((1, 2, 2, 2), -1), "no counts"),
        (np.full((1, 2, 2, 2), np.nan), "no counts"),
        (np.full((1, 2, 2, 2), np.inf), "no counts"),
        (np.zeros((1, 2, 2, 2), complex), "complex128"),
    ],
)
def test_damaged_npz_frames(tmp_path: Path, frames: np.ndarray, said: str) -> None:
    np.savez(tmp_path / "a.npz", frames=frames)
    refuses(read_frames, tmp_path / "a.npz", said)


class Hostile:
    """Would write a file if it were unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.target,)


def test_hostile_and_unreadable_npz(tmp_path: Path) -> None:
    path, target = tmp_path / "a.npz", tmp_path / "touched"
    np.savez(path, frames=np.array([Hostile(target)], object))
    refuses(read_npz, path, "not a readable .npz")
    path.write_bytes(pickle.dumps(Hostile(target)))
    refuses(read_npz, path, "not a readable .npz")
    assert not target.exists()
    np.savez(path, t=EVENTS["t"], labels=EVENTS["p"])
    refuses(read_npz, path, "holds labels, t; it must hold t, x, y and p")
    with path.open("wb") as file:
        np.save(file, EVENTS["t"])
    refuses(read_npz, path, "not a readable .npz")
    np.savez(path, **EVENTS)
    path.write_bytes(path.read_bytes()[:-40])
    refuses(read_npz, path, "not a readable .npz")
    with pytest.raises(BadInput, match="no such file"):
        read_npz(tmp_path / "missing.npz")


def test_an_npz_that_promises_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000000,), }"
    body = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(path, "w") as file:
        for name in "txyp":
            file.writestr(f"{name}.npy", body)
    refuses(read_npz, path, "not a readable .npz")
