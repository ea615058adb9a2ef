"""Prepared surgery on disk: made once, never wrong, never larger than its limit."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from spikefront.svtmodels.surgery.store import SurgeryStore

KEY, OTHER = "0a" * 16, "0b" * 16


def _tensors(value: int = 1) -> dict[str, Tensor]:
    return {"codes": torch.full((3, 4), value, dtype=torch.int8), "scale": torch.arange(3.0)}


def _never() -> dict[str, Tensor]:
    raise AssertionError("it was made before")


def _same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], tensor) for name, tensor in expected.items()
    )


def test_what_was_made_is_found_again(tmp_path: Path) -> None:
    store = SurgeryStore(tmp_path / "deep" / "store", 10**6)
    assert _same(store.tensors("cut", KEY, _tensors), _tensors())
    assert _same(store.tensors("cut", KEY, _never), _tensors())
    assert _same(SurgeryStore(store.folder, 1).tensors("cut", KEY, _never), _tensors())


def test_keys_do_not_see_each_other(tmp_path: Path) -> None:
    store = SurgeryStore(tmp_path, 10**6)
    store.tensors("cut", KEY, _tensors)
    assert _same(store.tensors("cut", OTHER, lambda: _tensors(2)), _tensors(2))
    assert _same(store.tensors("cut", KEY, _never), _tensors())


@pytest.mark.parametrize("damage", ["cut", "flip", "header", "empty"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: str) -> None:
    store = SurgeryStore(tmp_path, 10**6)
    store.tensors("cut", KEY, _tensors)
    (path,) = tmp_path.glob("*.surgery")
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-1] ^= 1
    elif damage == "header":
        data[0] ^= 0xFF
    path.write_bytes({"cut": data[:-1], "empty": b""}.get(damage, data))
    assert _same(store.tensors("cut", KEY, _tensors), _tensors())
    assert _same(store.tensors("cut", KEY, _never), _tensors())


def test_the_limit_holds_and_the_longest_unused_goes(tmp_path: Path) -> None:
    store = SurgeryStore(tmp_path, 10**6)
    keys = [f"{number:032x}" for number in range(6)]
    for age, key in enumerate(keys):
        store.tensors("cut", key, _tensors)
        os.utime(tmp_path / f"cut-{key}.surgery", (1000 + age, 1000 + age))
    size = (tmp_path / f"cut-{keys[0]}.surgery").stat().st_size
    store.tensors("cut", keys[0], _never)  # Used just now.
    small = SurgeryStore(tmp_path, 3 * size)
    small.tensors("cut", KEY, _tensors)
    left = {path.stem.removeprefix("cut-") for path, _ in small.files()}
    assert left == {KEY, keys[0], keys[5]}
    assert sum(status.st_size for _, status in small.files()) <= 3 * size


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    store = SurgeryStore(tmp_path, 10)
    assert _same(store.tensors("cut", KEY, _tensors), _tensors())
    assert not store.files()
    off = SurgeryStore(tmp_path / "off", 0)
    assert _same(off.tensors("cut", KEY, _tensors), _tensors())
    assert not off.folder.exists()


def test_a_store_that_cannot_be_written_costs_no_run(tmp_path: Path, caplog) -> None:
    (tmp_path / "file").write_text("in the way")
    store = SurgeryStore(tmp_path / "file" / "store", 10**6)
    assert _same(store.tensors("cut", KEY, _tensors), _tensors())
    assert "is not kept" in caplog.text


def test_making_one_kind_may_ask_for_another(tmp_path: Path) -> None:
    """Rounding asks for the cut: that must not wait for the lock that rounding holds."""
    store = SurgeryStore(tmp_path, 10**6)
    found: list[dict[str, Tensor]] = []

    def rounded() -> dict[str, Tensor]:
        return store.tensors("cut", KEY, _tensors)

    asking = threading.Thread(
        target=lambda: found.append(store.tensors("rounded", KEY, rounded)), daemon=True
    )
    asking.start()
    asking.join(timeout=60)
    assert not asking.is_alive()
    assert _same(found[0], _tensors())
    assert len(store.files()) == 2


def _make_and_count(folder: Path, counter: Path) -> None:
    def make() -> dict[str, Tensor]:
        with counter.open("a") as file:
            file.write("made\n")
        return _tensors()

    assert _same(SurgeryStore(folder, 10**6).tensors("cut", KEY, make), _tensors())


def test_one_process_makes_what_all_ask_for(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    counter = tmp_path / "counter"
    processes = [
        context.Process(target=_make_and_count, args=(tmp_path / "store", counter))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert counter.read_text() == "made\n"
