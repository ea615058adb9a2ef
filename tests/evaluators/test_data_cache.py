from __future__ import annotations

import fcntl
import gc
import logging
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from data_files import png, random_images, write_images, write_parquet
from numpy.typing import NDArray

from spikefront.evaluators.data import DataCache, ImageData, load_splits, parquet, slices
from spikefront.evaluators.data.cache import Origin, verified
from spikefront.evaluators.data.parquet import Allocate
from spikefront.spaces import BadInput, CorruptFile

KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataCache:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return DataCache.from_environment()


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    train = write_images(tmp_path / "train.parquet", random_images(40, seed=1))
    test = write_images(tmp_path / "test.parquet", random_images(12, seed=2))
    own = {"train": str(train), "test": str(test), "calibration": 5, "search": 7}
    return {"name": "parquet", **own}


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names the rows that are decoded from here on."""
    names, real = [], parquet.decode_image

    def counted(data: bytes, decoding: Any, where: str) -> NDArray[np.uint8]:
        names.append(where)
        return real(data, decoding, where)

    monkeypatch.setattr(parquet, "decode_image", counted)
    return names


def filled(cache: DataCache, key: str, images: NDArray[np.uint8]) -> tuple[Any, Origin]:
    def build(allocate: Allocate) -> NDArray[np.uint8]:
        array = allocate(images.shape)
        array[:] = images
        return array

    return cache.images(key, "made", "search", build)


def never(allocate: Allocate) -> NDArray[np.uint8]:
    raise AssertionError("must be in the cache")


def digests(settings: dict[str, Any]) -> dict[str, str]:
    return {name: data.digest for name, data in load_splits(settings).named().items()}


def is_mapped(data: ImageData) -> bool:
    return not data.images.flags.owndata and not data.images.flags.writeable


def test_second_load_decodes_nothing_and_is_equal(
    settings: dict[str, Any], cache: DataCache, decodes: list[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("SPIKEFRONT_CACHE_GIB", "0")
    plain = digests(settings)
    assert len(decodes) == 52
    assert cache.entries() == []
    monkeypatch.delenv("SPIKEFRONT_CACHE_GIB")
    assert digests(settings) == plain
    assert len(decodes) == 104
    loaded = load_splits(settings)
    assert {name: data.digest for name, data in loaded.named().items()} == plain
    assert len(decodes) == 104
    assert all(is_mapped(data) for data in loaded.named().values())
    found = {entry.record.split: entry.record for entry in cache.entries() if entry.record}
    assert {name: record.shape[0] for name, record in found.items()} == {
        "train": 28,
        "calibration": 5,
        "search": 7,
        "test": 12,
    }


def test_whatever_changes_pixels_changes_the_key(
    settings: dict[str, Any], cache: DataCache, decodes: list[str]
) -> None:
    load_splits(settings)
    variants = [{"size": 4}, {"size": 4, "resize": 6}, {"channels": 1}, {"seed": 3}]
    for more in variants:
        before = len(decodes)
        load_splits(settings | more, with_test=False)
        assert len(decodes) == before + 40, more
    before = len(decodes)
    write_images(Path(settings["train"]), random_images(40, seed=9))
    splits = load_splits(settings)
    assert len(decodes) == before + 40
    held = {i.tobytes() for i in random_images(40, seed=9)}
    assert {i.tobytes() for i in splits.search.images} < held


def test_the_file_is_arrow_that_anybody_can_read(
    settings: dict[str, Any], cache: DataCache
) -> None:
    test = load_splits(settings).test
    (path,) = [e.path for e in cache.entries() if e.record and e.record.split == "test"]
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    assert [cell.as_py() for cell in table.column(0)] == [i.tobytes() for i in test.images]
    assert path.stat().st_mode & 0o022 == 0


def test_damaged_files_are_rebuilt_with_a_warning(
    cache: DataCache, caplog: pytest.LogCaptureFixture
) -> None:
    images = random_images(9)
    filled(cache, KEY, images)
    (path,) = [entry.path for entry in cache.entries()]
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(images[4].tobytes())] ^= 1
    for damage in (bytes(flipped), whole[:-30], whole[:1500], b"", b"x" * len(whole)):
        gc.collect()
        path.write_bytes(damage)
        caplog.clear()
        got, origin = filled(cache, KEY, images)
        assert origin is Origin.DECODED
        assert np.array_equal(got, images)
        assert "decoded anew" in caplog.text
        del got
        assert cache.images(KEY, "made", "search", never)[1] is Origin.FOUND


def test_listing_marks_damage_and_verifying_finds_flipped_pixels(cache: DataCache) -> None:
    filled(cache, KEY, random_images(9))
    filled(cache, OTHER, random_images(9, seed=1))
    path = cache.folder / f"{KEY}.arrow"
    content = bytearray(path.read_bytes())
    content[content.index(random_images(9)[4].tobytes())] ^= 1
    path.write_bytes(content)
    assert all(entry.record for entry in cache.entries())
    assert [e.path for e in cache.entries() if verified(e).record is None] == [path]
    path.write_bytes(b"nothing like it")
    assert [e.path for e in cache.entries() if e.record is None] == [path]
    assert [e.path for e in cache.shrink(cache.limit)] == [path]


def test_a_crash_while_building_leaves_nothing(cache: DataCache) -> None:
    def crash(allocate: Allocate) -> NDArray[np.uint8]:
        allocate((3, 3, 4, 4))[:] = 1
        raise CorruptFile("x.parquet, row 1: the image cannot be decoded")

    with pytest.raises(CorruptFile, match="row 1"):
        cache.images(KEY, "made", "search", crash)
    assert {file.name for file in cache.folder.iterdir()} == {".lock-a"}
    assert filled(cache, KEY, random_images(3))[1] is Origin.DECODED


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(cache: DataCache) -> None:
    filled(cache, OTHER, random_images(2))
    dead, living = (cache.folder / f".{key}.tmp" for key in (KEY, OTHER))
    for file in (dead, living):
        file.write_bytes(b"half")
    with (cache.folder / ".lock-b").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cache.shrink(cache.limit)
        assert not dead.exists()
        assert living.exists()


def test_the_least_recently_used_goes_first_and_mapped_files_stay(cache: DataCache) -> None:
    size = random_images(1).nbytes * 100
    small = DataCache(cache.folder, 3 * size + 3 * 4096)
    keys = [digit * 64 for digit in "abcd"]
    for age, key in enumerate(keys[:3]):
        filled(small, key, random_images(100))
        os.utime(small.folder / f"{key}.arrow", (age + 1, age + 1))
    small.images(keys[0], "made", "search", never)  # used again, so b is the oldest
    filled(small, keys[3], random_images(100))
    assert {e.path.stem[0] for e in small.entries()} == set("acd")
    assert small.total() <= small.limit
    held, _ = small.images(keys[2], "made", "search", never)
    assert {e.path.stem[0] for e in small.shrink(0)} == set("ad")
    assert np.array_equal(held, random_images(100))
    del held
    assert [e.path.stem[0] for e in small.shrink(0)] == ["c"]


def test_what_does_not_fit_is_decoded_into_memory(
    cache: DataCache, caplog: pytest.LogCaptureFixture
) -> None:
    images = random_images(200)
    got, origin = filled(DataCache(cache.folder, images.nbytes), KEY, images)
    assert origin is Origin.UNKEPT
    assert np.array_equal(got, images)
    assert "would pass its limit" in caplog.text
    assert cache.entries() == []


def test_a_cache_that_cannot_be_written_never_stops_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    images = random_images(2)
    got, origin = filled(DataCache(tmp_path / "file" / "data", 2**20), KEY, images)
    assert origin is Origin.UNKEPT
    assert np.array_equal(got, images)
    assert "cannot be used" in caplog.text


def test_a_full_disk_never_stops_a_run(cache: DataCache, monkeypatch: Any, caplog: Any) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    images = random_images(2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        assert filled(cache, KEY, images)[1] is Origin.UNKEPT
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        got, origin = filled(cache, KEY, images)
        assert origin is Origin.UNKEPT
        assert np.array_equal(got, images)
    assert caplog.text.count("No space left") == 2
    assert [file.name for file in cache.folder.iterdir()] == [".lock-a"]


def _worker(folder: Path, built: Any, results: Any, barrier: Any) -> None:
    images = random_images(50, seed=4)

    def build(allocate: Allocate) -> NDArray[np.uint8]:
        with built.get_lock():
            built.value += 1
        array = allocate(images.shape)
        array[:] = images
        return array

    barrier.wait()
    got, origin = DataCache(folder, 2**20).images(KEY, "made", "search", build)
    results.put((np.array_equal(got, images), str(origin)))


def test_of_many_processes_one_builds_and_the_others_wait(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    built, results, barrier = context.Value("i", 0), context.Queue(), context.Barrier(4)
    arguments = (tmp_path, built, results, barrier)
    workers = [context.Process(target=_worker, args=arguments) for _ in range(4)]
    for worker in workers:
        worker.start()
    got = [results.get(timeout=20) for _ in workers]
    for worker in workers:
        worker.join(20)
    assert built.value == 1
    assert all(equal for equal, _ in got)
    assert sorted(origin for _, origin in got) == ["decoded into the cache", *["in the cache"] * 3]


def test_large_training_sets_are_not_kept(
    settings: dict[str, Any], cache: DataCache, monkeypatch: Any
) -> None:
    monkeypatch.setattr(slices, "MOST_TRAINING_BYTES", 28 * 3 * 6 * 6 - 1)
    assert len(load_splits(settings | {"size": 6}).train) == 28
    assert {e.record.split for e in cache.entries() if e.record} == {
        "calibration",
        "search",
        "test",
    }


def test_a_corrupt_row_is_named_and_nothing_is_kept_of_its_slice(
    settings: dict[str, Any], cache: DataCache, tmp_path: Path
) -> None:
    encoded: list[bytes | None] = [png(image) for image in random_images(12)]
    encoded[9] = b"broken"
    settings["test"] = str(write_parquet(tmp_path / "bad.parquet", encoded, [0, 1] * 6))
    with pytest.raises(CorruptFile, match=r"bad\.parquet, row 9: the image cannot be decoded"):
        load_splits(settings)
    assert "test" not in {e.record.split for e in cache.entries() if e.record}


@pytest.mark.parametrize("given", ["many", "-1", "nan", "inf"])
def test_unusable_limits_are_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEFRONT_CACHE_GIB", given)
    with pytest.raises(BadInput, match="give a number of GiB"):
        DataCache.from_environment()


def test_a_relative_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DataCache.from_environment().folder == tmp_path / ".cache" / "spikefront" / "data"


def test_progress_is_told_and_ends_with_the_origin(
    settings: dict[str, Any], cache: DataCache, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for origin in (Origin.DECODED, Origin.FOUND):
        told: list[slices.SliceProgress] = []
        load_splits(settings, with_train=False, report=told.append)
        ends = [p for p in told if p.origin is not None]
        assert [(p.split, p.done, p.rows, p.origin) for p in ends] == [
            ("calibration", 5, 5, origin),
            ("search", 7, 7, origin),
            ("test", 12, 12, origin),
        ]
        steps = [p.done for p in told if p.split == "test" and p.origin is None]
        assert steps == (list(range(1, 13)) if origin is Origin.DECODED else [])
    assert not caplog.records
