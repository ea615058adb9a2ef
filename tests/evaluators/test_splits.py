from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import png, random_images, write_images, write_parquet
from hypothesis import given
from hypothesis import strategies as st

from spikefront.evaluators.data import (
    ImageData,
    check_disjoint,
    digits_splits,
    foreign_splits,
    held_out_digest,
    load_digits,
    load_splits,
    parquet_splits,
)
from spikefront.evaluators.data.partition import partition
from spikefront.spaces import BadInput

PINNED = [[11, 6, 4], [2, 3, 10], [9, 8, 0, 1, 5, 7]]
DIGITS_DIGEST = "6e2fef653df9252260e1e3769410e50f2717f2ee0983e080acde5c88b9feabcc"


@pytest.fixture
def train(tmp_path: Path) -> Path:
    return write_images(tmp_path / "train.parquet", random_images(60, seed=1), classes=["a", "b"])


@pytest.fixture
def validation(tmp_path: Path) -> Path:
    return write_images(tmp_path / "test.parquet", random_images(20, seed=2), classes=["a", "b"])


def rows(data: ImageData) -> set[bytes]:
    """The images as a set; those of the files above are all different."""
    return set(data.image_hashes())


@given(
    labels=st.lists(st.integers(0, 4), min_size=4, max_size=80),
    counts=st.tuples(st.integers(1, 10), st.integers(1, 10)),
    seed=st.integers(0, 2**32),
)
def test_partition_is_disjoint_complete_and_stratified(
    labels: list[int], counts: tuple[int, int], seed: int
) -> None:
    if sum(counts) >= len(labels):
        counts = (1, 1)
    array = np.array(labels, np.int64)
    parts = partition(array, counts, seed)
    assert [len(part) for part in parts[:2]] == list(counts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    shares = np.bincount(array, minlength=5) / len(labels)
    for part in parts:
        got = np.bincount(array[part], minlength=5)
        assert np.abs(got - shares * len(part)).max() <= 2


def test_partition_follows_the_seed_and_is_pinned() -> None:
    labels = np.arange(12, dtype=np.int64) % 3
    assert not np.array_equal(partition(labels, (3, 3), 0)[0], partition(labels, (3, 3), 1)[0])
    # Checkpoints carry digests that rest on these numbers: they must never change.
    assert [part.tolist() for part in partition(labels, (3, 3), 7)] == PINNED


def test_beginnings_of_a_part_are_fair_samples() -> None:
    labels = np.repeat(np.arange(2, dtype=np.int64), 500)
    first = [labels[partition(labels, (100, 300), seed)[1][:10]].mean() for seed in range(200)]
    # 2,000 labels of mean 1/2: a standard error of 0.011.
    assert abs(np.mean(first) - 0.5) < 0.04
    assert np.std(first) > 0.1


@pytest.mark.parametrize("counts", [(6, 6), (0, 3), (3, -1)])
def test_impossible_parts_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match="images from 12"):
        partition(np.zeros(12, np.int64), counts, 0)


def test_digits_sizes_classes_and_disjointness() -> None:
    splits = digits_splits()
    sizes = {name: len(data) for name, data in splits.named().items()}
    assert sizes == {"train": 819, "calibration": 128, "search": 400, "test": 450}
    shares = np.bincount(load_digits().labels) / 1797
    for data in splits.named().values():
        assert np.abs(np.bincount(data.labels) - shares * len(data)).max() <= 2
    everything = [image for data in splits.named().values() for image in data.image_hashes()]
    assert sorted(everything) == sorted(load_digits().image_hashes())
    assert "819 train" in splits.declared


def test_digits_are_the_same_for_a_seed() -> None:
    first = digits_splits()
    assert held_out_digest(first) == DIGITS_DIGEST
    assert held_out_digest(digits_splits(seed=1)) != DIGITS_DIGEST


def test_held_out_digest_covers_calibration_and_search_only() -> None:
    splits = digits_splits(size=8)
    other_test = replace(splits, test=splits.test.take(range(5)), train=splits.train.take([]))
    other_search = replace(splits, search=splits.search.take(range(5)))
    other_calibration = replace(splits, calibration=splits.calibration.take(range(5)))
    assert held_out_digest(other_test) == held_out_digest(splits)
    digests = map(held_out_digest, (splits, other_search, other_calibration))
    assert len(set(digests)) == 3


def test_parquet_leaves_held_out_images_out_of_training(train: Path, validation: Path) -> None:
    splits = parquet_splits(train, validation, calibration=10, search=20)
    parts = [rows(splits.train), rows(splits.calibration), rows(splits.search)]
    assert [len(part) for part in parts] == [30, 10, 20]
    assert len(set.union(*parts)) == 60
    assert np.array_equal(splits.test.images, random_images(20, seed=2))
    assert np.bincount(splits.search.labels).tolist() == [10, 10]
    assert check_disjoint(splits, strict=True).disjoint


def test_undecoded_splits_change_nothing_else(tmp_path: Path, validation: Path) -> None:
    labels = [0, 1] * 30
    encoded = [png(image) for image in random_images(60)]
    held_out = np.concatenate(partition(np.array(labels), (10, 20), 0)[:2])
    broken = [data if row in held_out else b"broken" for row, data in enumerate(encoded)]
    classes = ["a", "b"]
    whole = write_parquet(tmp_path / "whole.parquet", encoded, labels, classes=classes)
    partly = write_parquet(tmp_path / "partly.parquet", broken, labels, classes=classes)
    unread = write_parquet(tmp_path / "unread.parquet", [b"broken"] * 4, [0] * 4, classes=classes)
    full = parquet_splits(whole, validation, 10, 20)
    lazy = parquet_splits(partly, unread, 10, 20, with_train=False, with_test=False)
    assert held_out_digest(lazy) == held_out_digest(full)
    assert len(lazy.train) == len(lazy.test) == 0


def test_foreign_splits_come_from_the_validation_set_alone(validation: Path) -> None:
    splits = foreign_splits(validation, calibration=4, search=6, seed=3)
    sizes = [len(data) for data in splits.named().values()]
    assert sizes == [0, 4, 6, 10]
    assert len(rows(splits.calibration) | rows(splits.search) | rows(splits.test)) == 20
    assert "training set is unknown" in splits.declared
    assert "10 test images" in splits.declared
    without = foreign_splits(validation, 4, 6, 3, with_test=False)
    assert len(without.test) == 0
    assert without.declared == splits.declared


def test_too_few_images_and_one_file_twice(train: Path, validation: Path) -> None:
    with pytest.raises(BadInput, match="512, 2000 images from 60"):
        parquet_splits(train, validation)
    with pytest.raises(BadInput, match="train and test are both"):
        parquet_splits(train, train, 2, 2)


def test_classes_must_agree(tmp_path: Path, train: Path) -> None:
    swapped = write_images(tmp_path / "s.parquet", random_images(20), classes=["b", "a"])
    with pytest.raises(BadInput, match="classes"):
        parquet_splits(train, swapped, 2, 2)


def test_files_without_class_names_may_show_unlike_numbers_of_classes(tmp_path: Path) -> None:
    three = write_images(tmp_path / "three.parquet", random_images(30), class_count=3)
    two = write_images(tmp_path / "two.parquet", random_images(8), class_count=2)
    for pair in ((three, two), (two, three)):
        splits = parquet_splits(*pair, 2, 2)
        assert splits.test.classes == splits.train.classes == ("0", "1", "2")


def test_duplicates_are_counted_and_refused_when_strict(tmp_path: Path, validation: Path) -> None:
    splits = foreign_splits(validation, 4, 6)
    doubled = replace(
        splits,
        train=splits.search.take([0, 1, 2]),
        calibration=splits.calibration.take([0, 0, 1]),
    )
    overlap = check_disjoint(doubled)
    assert overlap.within == {"train": 0, "calibration": 1, "search": 0, "test": 0}
    assert overlap.across == {("train", "search"): 3}
    assert not overlap.disjoint
    with pytest.raises(BadInput, match="3 of search in train"):
        check_disjoint(doubled, strict=True)


def test_train_can_be_given_by_hashes(train: Path, validation: Path) -> None:
    full = parquet_splits(train, validation, 10, 20)
    lazy = parquet_splits(train, validation, 10, 20, with_train=False)
    assert check_disjoint(lazy, train_hashes=full.train.image_hashes()).disjoint
    leaked = [*full.train.image_hashes(), *full.test.image_hashes()[:5]]
    assert check_disjoint(lazy, train_hashes=leaked).across == {("train", "test"): 5}


def test_settings_reach_the_right_function(
    train: Path, validation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = load_splits({"name": "digits", "size": 8, "seed": None})
    assert digits.search.images.shape == (400, 1, 8, 8)
    monkeypatch.chdir(train.parent)
    common: dict[str, Any] = {"name": "parquet", "calibration": 4, "search": 5, "seed": 2}
    own = load_splits(common | {"train": "train.parquet", "test": "test.parquet"}, with_test=False)
    assert [len(data) for data in own.named().values()] == [51, 4, 5, 0]
    assert held_out_digest(own) == held_out_digest(parquet_splits(train, validation, 4, 5, 2))
    foreign = load_splits(common | {"validation": "test.parquet", "size": 3, "channels": 1})
    assert foreign.test.images.shape == (11, 1, 3, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "digit"}, "data set 'digit'. Did you mean 'digits'"),
        ({}, "data set 'None'"),
        ({"name": "digits", "train": "x"}, "unknown data setting 'train'"),
        ({"name": "parquet", "trian": "x"}, "Did you mean 'train'"),
        ({"name": "parquet"}, "no paths: give train and test"),
        ({"name": "parquet", "train": "x"}, "with train: give train and test"),
        ({"name": "parquet", "train": "x", "validation": "y"}, "train and validation: give"),
        ({"name": "parquet", "validation": "x", "search": "many"}, "'search' is 'many'; give a w"),
        ({"name": "parquet", "validation": "x", "seed": True}, "'seed' is True"),
        ({"name": "parquet", "validation": 3}, "'validation' is 3; give a string"),
    ],
)
def test_unusable_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_splits(settings)


def test_searching_on_the_test_images_says_so():
    splits = digits_splits(0)
    published = splits.on_test()
    assert published.search is published.test is splits.test
    assert published.calibration is splits.calibration
    assert published.declared.startswith(splits.declared)
    assert "Paper split: candidates are judged on the 450 test images" in published.declared
