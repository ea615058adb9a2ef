from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import random_images, write_images
from test_data_folder import load as load_folder
from test_data_folder import write_classes

from spikefront.evaluators.data import ParquetImages, load_splits, load_stream
from spikefront.evaluators.data.labels import LabelMap
from spikefront.evaluators.data.partition import partition
from spikefront.spaces import BadInput, CorruptFile

OLD = ("cat", "dog", "frog", "truck")
ANIMALS: dict[str, Any] = {
    "classes": ["vehicle", "animal"],
    "map": {"cat": "animal", "dog": "animal", "truck": "vehicle", "frog": None},
}


def numbers(classes: list[Any], targets: dict[Any, Any], old: tuple[str, ...] = OLD) -> list[int]:
    return LabelMap.load({"classes": classes, "map": targets}).numbers(old).tolist()


def test_merge_drop_and_order() -> None:
    assert LabelMap.load(ANIMALS).numbers(OLD).tolist() == [1, 1, -1, 0]


def test_rename_reorder_and_others() -> None:
    assert numbers(["truck", "dog", "cat", "frog"], {}) == [2, 1, 3, 0]
    assert numbers(["truck", "pet"], {"dog": "pet", "*": None}) == [-1, 1, -1, 0]
    assert numbers(["truck", "rest"], {"*": "rest"}) == [1, 1, 1, 0]
    assert numbers(["cat", "rest"], {"cat": None, "dog": "cat", "*": "rest"}) == [-1, 0, 1, 1]


def test_classes_by_number_unless_one_has_that_name() -> None:
    assert numbers(["x", "y"], {0: "x", "1": "y", "*": None}) == [0, 1, -1, -1]
    assert numbers(["x", "y"], {"10": "x", "2": "y"}, ("10", "2")) == [0, 1]
    assert numbers(["x", "y"], {"1": "x", "0": "y"}, ("0", "1")) == [1, 0]
    assert numbers([3, "y"], {0: 3, 1: "y", "*": None}) == [0, 1, -1, -1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"map": {}}, "classes is None; list the names"),
        ({"classes": []}, r"classes is \[\]"),
        ({"classes": "cat"}, "classes is 'cat'"),
        ({"classes": ["cat", False]}, "quote words"),
        ({"classes": ["cat", "cat"]}, "'cat' is given twice"),
        ({"classes": [1, "1"]}, "'1' is given twice"),
        ({"clases": ["cat"]}, "Did you mean 'classes'"),
        ({"classes": ["cat"], "map": ["cat"]}, "give a mapping"),
        ({"classes": ["cat"], "map": {True: "cat"}}, "the key True"),
        ({"classes": ["cat"], "map": {"dog": "cta"}}, "'cta'. Did you mean 'cat'"),
        ({"classes": ["cat"], "map": {"dog": 3}}, "unknown class .* '3'"),
        ({"classes": ["cat"], "map": {"dog": ["cat"]}}, "unknown class"),
        ({"classes": ["cat"], "map": {1: "cat", "1": None}}, "'1' is given twice"),
    ],
)
def test_unusable_maps(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        LabelMap.load(given)


@pytest.mark.parametrize(
    ("classes", "targets", "message"),
    [
        (["cat", "dog"], {}, "what becomes of class 'frog'"),
        (["cat"], {"bird": "cat", "*": None}, "unknown class in labels.map 'bird'"),
        (["cat"], {4: "cat", "*": None}, "unknown class in labels.map '4'"),
        (["cat"], {"9" * 5000: "cat", "*": None}, "unknown class"),
        (["cat"], {"dog": None, "1": "cat", "*": None}, "class 'dog' is mapped twice"),
        (["cat", "bird"], {"*": None}, "nothing becomes bird"),
    ],
)
def test_maps_that_do_not_fit_the_data(
    classes: list[str], targets: dict[Any, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        numbers(classes, targets)


@pytest.mark.parametrize("name", ["map.json", "map.yaml", "map.YML"])
def test_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(ANIMALS))
    assert LabelMap.load(path) == LabelMap.load(str(path)) == LabelMap.load(ANIMALS)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.txt", b"", BadInput, r"ends in \.json, \.yaml, \.yml"),
        ("a.json", b"{", CorruptFile, "not JSON"),
        ("a.json", b'{"classes": ["a"], "classes": ["b"]}', CorruptFile, "given twice"),
        ("a.json", b"[" * 100_000, CorruptFile, "not JSON"),
        ("a.yaml", b"classes: [a\n", CorruptFile, "not YAML"),
        ("a.yaml", b"classes: [a]\nclasses: [b]", CorruptFile, "'classes' is given twice"),
        ("a.yaml", b"!!python/object/apply:os.system [true]", CorruptFile, "not YAML"),
        ("a.yaml", b"- a", BadInput, "holds a list"),
        ("a.yaml", b"", BadInput, "holds a NoneType"),
        ("a.yaml", b"\xff\xfe", CorruptFile, "not UTF-8"),
        ("a.yaml", b"classes: [a]\nextra: 1", BadInput, "unknown field of .*a.yaml 'extra'"),
    ],
)
def test_unusable_files(
    tmp_path: Path, name: str, content: bytes, error: type[BadInput], message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        LabelMap.load(tmp_path / name)
    with pytest.raises(BadInput, match="cannot be read"):
        LabelMap.load(tmp_path / "missing.json")


def test_partition_leaves_dropped_rows_out() -> None:
    labels = np.array([0, -1, 1, 0, 1, -1, 0, 1], np.int64)
    parts = partition(labels, (2, 2), 0)
    assert sorted(np.concatenate(parts).tolist()) == [0, 2, 3, 4, 6, 7]
    with pytest.raises(BadInput, match="images from 6"):
        partition(labels, (3, 3), 0)


def test_parquet_through_a_map(tmp_path: Path) -> None:
    images, tests = random_images(40, seed=1), random_images(12, seed=2)
    train = write_images(tmp_path / "train.parquet", images, 4, OLD)
    test = write_images(tmp_path / "test.parquet", tests, 4, OLD)
    data: dict[str, Any] = {"name": "parquet", "labels": ANIMALS, "calibration": 3, "search": 6}
    own = data | {"train": str(train), "test": str(test)}
    splits = load_splits(own)
    assert [len(each) for each in splits.named().values()] == [21, 3, 6, 9]
    assert "(21 remain); test is test (9)" in splits.declared
    old = {image.tobytes(): i % 4 for part in (images, tests) for i, image in enumerate(part)}
    becomes = {0: 1, 1: 1, 3: 0}
    for each in splits.named().values():
        assert each.classes == ("vehicle", "animal")
        wanted = [becomes[old[image.tobytes()]] for image in each.images]
        assert each.labels.tolist() == wanted
    foreign = load_splits(data | {"validation": str(train)})
    assert [len(each) for each in foreign.named().values()] == [0, 3, 6, 21]
    stream = load_stream(own | {"stream": True})
    assert stream is not None and stream.classes == ("vehicle", "animal")
    (batch,) = stream.batches(0, 100, 0)
    assert sorted(image.tobytes() for image in batch[0]) == sorted(
        image.tobytes() for image in splits.train.images
    )
    assert [becomes[old[image.tobytes()]] for image in batch[0]] == batch[1].tolist()


def test_parquet_without_class_names_is_mapped_by_number(tmp_path: Path) -> None:
    source = ParquetImages.open(write_images(tmp_path / "x.parquet", random_images(6), 3))
    named = LabelMap.load({"classes": ["low", "high"], "map": {0: "low", 1: None, 2: "high"}})
    mapped = named.apply(source)
    assert mapped.labels.tolist() == [0, -1, 1, 0, -1, 1]
    assert mapped.load([2, 3]).labels.tolist() == [1, 0]


def test_folders_through_a_map(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"cat": 8, "dog": 8, "frog": 8, "truck": 8})
    write_classes(tmp_path / "val", {"cat": 1, "dog": 2, "frog": 4, "truck": 8}, seed=1)
    splits = load_folder(root=str(tmp_path), labels=ANIMALS)
    assert [len(each) for each in splits.named().values()] == [17, 3, 4, 11]
    assert np.bincount(splits.test.labels).tolist() == [8, 3]
    assert splits.train.classes == ("vehicle", "animal")
