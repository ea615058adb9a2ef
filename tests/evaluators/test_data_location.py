from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_files import random_images, write_images
from pyarrow import fs

from spikefront.evaluators.data import load_parquet, load_splits, location, parquet_splits
from spikefront.evaluators.data.location import Location
from spikefront.spaces import BadInput, CorruptFile


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> fs.FileSystem:
    """A file system that is no local one; every URL of the scheme mock leads to it."""
    mock, real = fs._MockFileSystem(), fs.FileSystem.from_uri

    class Resolver:
        @staticmethod
        def from_uri(uri: str) -> tuple[fs.FileSystem, str]:
            return (mock, real(uri)[1]) if uri.startswith("mock:") else real(uri)

    monkeypatch.setattr(location, "FileSystem", Resolver)
    return mock


def put(memory: fs.FileSystem, file: Path, path: str) -> None:
    memory.create_dir(str(Path(path).parent), recursive=True)
    with memory.open_output_stream(path) as stream:
        stream.write(file.read_bytes())


@pytest.mark.parametrize("pattern", ["", "/train-00001-of-00002.parquet", "/train-*.parquet"])
def test_file_urls_mean_what_paths_mean(tmp_path: Path, pattern: str) -> None:
    images = random_images(8)
    for number in range(2):
        part = images[number * 4 : number * 4 + 4]
        write_images(tmp_path / f"train-0000{number}-of-00002.parquet", part)
    by_url, by_path = (
        load_parquet(f"file://{tmp_path}{pattern}"),
        load_parquet(f"{tmp_path}{pattern}"),
    )
    assert np.array_equal(by_url.images, by_path.images)
    assert len(by_url) == (4 if "00001" in pattern else 8)
    assert by_url.name == by_path.name


def test_any_file_system_of_pyarrow(tmp_path: Path, memory: fs.FileSystem) -> None:
    images = random_images(12)
    file = write_images(tmp_path / "x.parquet", images)
    put(memory, file, "bucket/data/train-00000-of-00001.parquet")
    put(memory, file, "bucket/data/_temporary.parquet")
    for url in ("mock:///bucket/data", "mock:///bucket/data/train-*.parquet"):
        assert np.array_equal(load_parquet(url, indices=[7, 2]).images, images[[7, 2]])
    test = write_images(tmp_path / "test.parquet", random_images(6, seed=3))
    settings = {"name": "parquet", "test": str(test), "calibration": 2, "search": 3}
    settings["train"] = "mock:///bucket/data"
    assert [len(d) for d in load_splits(settings).named().values()] == [7, 2, 3, 6]
    with pytest.raises(BadInput, match="mock://bucket/nothing: no such file or folder"):
        load_parquet("mock:///bucket/nothing")
    put(memory, Path(__file__), "bucket/text.parquet")
    with pytest.raises(CorruptFile, match=r"mock://bucket/text\.parquet.*check the connection"):
        load_parquet("mock:///bucket/text.parquet")


def test_one_file_named_in_two_ways_is_not_train_and_test(tmp_path: Path) -> None:
    path = write_images(tmp_path / "x.parquet", random_images(12))
    with pytest.raises(BadInput, match="train and test are both"):
        parquet_splits(path, f"file://{path}", 2, 2)


@pytest.mark.parametrize("url", ["nope://me:secret@host/x", "s3://me:secret@bucket/x y"])
def test_unusable_urls_are_refused_without_their_credentials(url: str) -> None:
    with pytest.raises(BadInput, match="not a usable URL") as refused:
        load_parquet(url)
    assert "secret" not in str(refused.value)
    assert "s3://" in str(refused.value)


def test_credentials_are_never_shown() -> None:
    assert (
        str(Location.parse("s3://me:secret@bucket/folder?region=us-east-1")) == "s3://bucket/folder"
    )
