from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from small_model import Cli, write_config

from spikefront.evaluators.data import DataCache
from spikefront.evaluators.surgery_cache import surgery_store


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataCache:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return DataCache.from_environment()


def write_file(path: Path, count: int, broken: int | None = None) -> str:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        cells.append(b"broken" if number == broken else buffer.getvalue())
    labels = [number % 2 for number in range(count)]
    pq.write_table(pa.table({"img": cells, "label": labels}), path)
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    train, test = tmp_path / "train.parquet", tmp_path / "test.parquet"
    own = {"train": write_file(train, 30), "test": write_file(test, 8)}
    return {"name": "parquet", **own, "calibration": 4, "search": 6}


def write_train(folder: Path, data: dict[str, Any]) -> Path:
    path = folder / "train.yaml"
    network = {"architecture": "spikformer_cifar10"}
    path.write_text(yaml.safe_dump({"network": network, "data": data, "output": "x.safetensors"}))
    return path


def test_prepare_for_a_search_then_ls(tmp_path: Path, cli: Cli, data: dict[str, Any]) -> None:
    config = write_config(tmp_path, data={**data, "preprocessing": "cifar10"})
    ran = cli("data", "prepare", config, "--json")
    assert ran.code == 0, ran.err
    got = [(s["split"], s["rows"], s["origin"]) for s in ran.record["slices"]]
    decoded = "decoded into the cache"
    assert got == [("calibration", 4, decoded), ("search", 6, decoded), ("test", 8, decoded)]
    assert "train, search: 6 of 6 rows, decoded into the cache" in ran.err
    again = cli("data", "prepare", config)
    assert again.out.count("in the cache") == 3
    listed = cli("data", "ls", "--verify", "--json")
    assert listed.code == 0
    assert listed.record["damaged"] == 0
    shapes = {e["split"]: e["shape"] for e in listed.record["entries"]}
    assert shapes == {
        "calibration": [4, 3, 8, 8],
        "search": [6, 3, 8, 8],
        "test": [8, 3, 8, 8],
    }
    text = cli("data", "ls").out
    assert "3x8x8" in text
    assert "3 files" in text


@pytest.mark.parametrize(("stream", "splits"), [(False, 4), (True, 3)])
def test_prepare_for_a_training(
    tmp_path: Path, cli: Cli, data: dict[str, Any], stream: bool, splits: int
) -> None:
    ran = cli("data", "prepare", write_train(tmp_path, {**data, "stream": stream}), "--json")
    assert ran.code == 0, ran.err
    assert len(ran.record["slices"]) == splits


def test_prepare_names_a_corrupt_row(tmp_path: Path, cli: Cli, data: dict[str, Any]) -> None:
    write_file(Path(data["test"]), 8, broken=5)
    ran = cli("data", "prepare", write_config(tmp_path, data=data))
    assert ran.code == 2
    assert "test.parquet, row 5: the image cannot be decoded" in ran.err


def test_prepare_with_nothing_to_do_and_without_a_cache(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path)
    assert cli("data", "prepare", config).out == "These data need no decoding into the cache.\n"
    monkeypatch.setenv("SPIKEFRONT_CACHE_GIB", "0")
    ran = cli("data", "prepare", config)
    assert ran.code == 2
    assert "the cache is off" in ran.err


def test_progress_has_rate_and_time_left(
    tmp_path: Path, cli: Cli, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(10_000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    ran = cli("data", "prepare", write_config(tmp_path, data=data))
    assert "train, search: 3 of 6 rows, " in ran.err
    assert " rows/s, " in ran.err
    assert " s left" in ran.err


def test_ls_tells_damage(tmp_path: Path, cli: Cli, data: dict[str, Any], cache: DataCache) -> None:
    cli("data", "prepare", write_config(tmp_path, data=data))
    path = cache.entries()[0].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    ran = cli("data", "ls", "--verify")
    assert ran.code == 2
    assert "1 damaged" in ran.out


def test_clean(tmp_path: Path, cli: Cli, data: dict[str, Any], cache: DataCache) -> None:
    config = write_config(tmp_path, data=data)
    cli("data", "prepare", config)
    old = cache.entries()[1].path
    os.utime(old, (1e9, 1e9))
    assert cli("data", "clean", "--json").record["removed"] == []
    (removed,) = cli("data", "--json", "clean", "--older-than", "30").record["removed"]
    assert removed["file"] == str(old)
    cli("data", "prepare", config)
    os.utime(old, (1e9, 1e9))
    size = (cache.total() - 1) / 2**30
    (removed,) = cli("data", "clean", "--to-size", str(size), "--json").record["removed"]
    assert removed["file"] == str(old)
    ran = cli("data", "clean", "--all")
    assert ran.out.startswith("images: 2 files removed")
    assert cache.entries() == []
    assert cli("data", "ls").out.count("0 files") == 2


def test_prepared_surgery_is_listed_and_cleaned(cli: Cli) -> None:
    store = surgery_store()
    for name in ("old", "new"):
        store.tensors("codes", name, lambda: {"codes": torch.zeros(100)})
    (old,) = (path for path, _ in store.files() if "old" in path.name)
    os.utime(old, (1e9, 1e9))
    size = sum(status.st_size for _, status in store.files())
    listed = cli("data", "ls", "--json").record["surgery"]
    limit = 2 * 2**30
    folder = str(store.folder)
    assert listed == {"folder": folder, "limit_bytes": limit, "bytes": size, "files": 2}
    assert f"{folder}: 2 files of prepared surgery" in cli("data", "ls").out
    assert cli("data", "clean", "--json").record["surgery"]["files_removed"] == 0
    cleaned = cli("data", "clean", "--older-than", "30", "--json").record["surgery"]
    assert cleaned == {"files_removed": 1, "bytes_removed": size // 2, "bytes_left": size // 2}
    assert not old.exists()
    assert "prepared surgery: 1 files removed" in cli("data", "clean", "--to-size", "0").out
    assert store.files() == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["clean", "--to-size", "-1"],
        ["clean", "--older-than", "nan"],
        ["clean", "--all", "--to-size", "1"],
        ["prepare", "nothing.yaml"],
        ["ls", "--all"],
    ],
)
def test_wrong_options(cli: Cli, arguments: list[str]) -> None:
    assert cli("data", *arguments).code == 2


def test_errors_are_json_where_asked(cli: Cli) -> None:
    ran = cli("data", "prepare", "nothing.yaml", "--json")
    assert json.loads(ran.out)["exit_code"] == 2
