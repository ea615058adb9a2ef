"""What is trained on, calibrated on, searched on and tested on: four disjoint sets of images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from ...spaces.errors import BadInput
from .dataset import ImageData
from .digits import load_digits
from .parquet import ParquetImages
from .partition import partition

_DIGITS_COUNTS = (450, 400, 128)
"""Test, search and calibration; the remaining 819 of 1,797 images are for training."""

_NONE: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Splits:
    """Four sets of images, disjoint by row.

    Attributes:
        train: what our own training sees. Empty where it is unknown (foreign checkpoint) or was
            not asked for.
        calibration: for statistics and the drift gate.
        search: what candidates are judged on.
        test: touched once, at the end. Empty where it was not asked for.
        declared: one sentence that says where each split comes from; printed by every run.

    Raises:
        BadInput: the splits do not name the same classes.
    """

    train: ImageData
    calibration: ImageData
    search: ImageData
    test: ImageData
    declared: str

    def __post_init__(self) -> None:
        for name, data in self.named().items():
            if data.classes != self.search.classes:
                raise BadInput(
                    f"{name} names the classes {data.classes}, search {self.search.classes}; "
                    "all splits must come from one data set."
                )

    def named(self) -> dict[str, ImageData]:
        """Return the four sets by name."""
        return {
            "train": self.train,
            "calibration": self.calibration,
            "search": self.search,
            "test": self.test,
        }


def held_out_digest(splits: Splits) -> str:
    """Content key of what training left out: sha256 hex over calibration and search.

    Training writes it into the checkpoint's metadata; a search compares it with its own, and so
    knows that the network has not seen the images that candidates are judged on.
    """
    both = splits.calibration.digest + splits.search.digest
    return hashlib.sha256(both.encode()).hexdigest()


def digits_splits(seed: int = 0, size: int = 32) -> Splits:
    """Cut the 1,797 embedded digits: train 819, calibration 128, search 400, test 450."""
    data = load_digits(size)
    test, search, calibration, train = (
        data.take(rows) for rows in partition(data.labels, _DIGITS_COUNTS, seed)
    )
    declared = (
        f"scikit-learn's {len(data)} digits, cut by class with seed {seed}: {len(train)} train, "
        f"{len(calibration)} calibration, {len(search)} search, {len(test)} test."
    )
    return Splits(train, calibration, search, test, declared)


def parquet_splits(
    train_path: str | Path,
    test_path: str | Path,
    calibration: int = 512,
    search: int = 2000,
    seed: int = 0,
    *,
    size: int | None = None,
    channels: int = 3,
    image_column: str | None = None,
    label_column: str | None = None,
    with_train: bool = True,
    with_test: bool = True,
) -> Splits:
    """Cut the data for a network of our own training: calibration and search are held out of it.

    Args:
        train_path: file, folder or pattern of the training images.
        test_path: the same of the test images.
        calibration: number of training images for statistics.
        search: number of training images that candidates are judged on.
        seed: decides which images those are.
        size: see `ParquetImages.load`; so `channels`.
        channels: 3 (RGB) or 1 (grey).
        image_column: found by usual names if None; so `label_column`.
        label_column: column with the labels.
        with_train: False leaves the training images undecoded: a search never needs them.
        with_test: False leaves the test images undecoded until the end of a search.

    Raises:
        CorruptFile: a file cannot be read.
        BadInput: too few images, train and test are one file, or their classes differ.
    """
    if Path(train_path).expanduser().resolve() == Path(test_path).expanduser().resolve():
        raise BadInput(f"train and test are both {train_path}; name two files.")
    columns = {"image_column": image_column, "label_column": label_column}
    source = ParquetImages.open(train_path, **columns)
    tests = ParquetImages.open(test_path, **columns)
    source, tests = _same_classes(source, tests)
    held_out = partition(source.labels, (calibration, search), seed)
    pixels = {"size": size, "channels": channels}
    declared = (
        f"{calibration} calibration and {search} search images are cut by class from "
        f"{source.name} with seed {seed} and left out of training ({len(held_out[2])} remain); "
        f"test is {tests.name} ({len(tests)})."
    )
    return Splits(
        source.load(held_out[2] if with_train else _NONE, **pixels),
        source.load(held_out[0], **pixels),
        source.load(held_out[1], **pixels),
        tests.load(range(len(tests)) if with_test else _NONE, **pixels),
        declared,
    )


def foreign_splits(
    validation_path: str | Path,
    calibration: int = 512,
    search: int = 2000,
    seed: int = 0,
    *,
    size: int | None = None,
    channels: int = 3,
    image_column: str | None = None,
    label_column: str | None = None,
    with_test: bool = True,
) -> Splits:
    """Cut a validation set for a foreign checkpoint, whose training set is unknown.

    The images that are neither calibration nor search are the test split; train is empty.
    Arguments and errors are those of `parquet_splits`.
    """
    source = ParquetImages.open(
        validation_path, image_column=image_column, label_column=label_column
    )
    parts = partition(source.labels, (calibration, search), seed)
    pixels = {"size": size, "channels": channels}
    declared = (
        f"the training set is unknown: {calibration} calibration, {search} search and "
        f"{len(parts[2])} test images are disjoint parts of the validation set {source.name}, "
        f"cut by class with seed {seed}."
    )
    return Splits(
        source.load(_NONE, **pixels),
        source.load(parts[0], **pixels),
        source.load(parts[1], **pixels),
        source.load(parts[2] if with_test else _NONE, **pixels),
        declared,
    )


def _same_classes(
    first: ParquetImages, second: ParquetImages
) -> tuple[ParquetImages, ParquetImages]:
    """Both with the longer list of classes where one list begins with the other.

    Files without class names count up to their own highest label, which may differ.
    """
    short, long = sorted((first.classes, second.classes), key=len)
    if long[: len(short)] != short:
        return first, second
    return replace(first, classes=long), replace(second, classes=long)
