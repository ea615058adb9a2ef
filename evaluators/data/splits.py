"""What is trained on, calibrated on, searched on and tested on: four disjoint sets of images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...spaces.errors import BadInput
from .dataset import ImageData
from .decode import Decoding
from .digits import load_digits
from .labels import LabelMap, LabelSettings, labelled_rows
from .location import Location
from .parquet import ParquetImages
from .partition import partition
from .slices import Report, load_slice
from .stream import BUFFER, ImageStream

_DIGITS_COUNTS = (450, 400, 128)
"""Test, search and calibration; the remaining 819 of 1,797 images are for training."""

_NONE = np.empty(0, np.int64)


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
        BadInput: the splits do not name the same classes, or their images are unlike in size.
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
            if len(data) and data.images.shape[1:] != self.search.images.shape[1:]:
                raise BadInput(
                    f"images of {name} are {data.images.shape[1:]}, of search "
                    f"{self.search.images.shape[1:]} (channels, height, width); "
                    "pass size to make them equal."
                )

    def on_test(self) -> Splits:
        """The same, searched on the test images, as the published methods do it."""
        declared = (
            f"{self.declared} Paper split: candidates are judged on the {len(self.test)} test "
            "images themselves, so accuracies on them flatter whatever was chosen."
        )
        return replace(self, search=self.test, declared=declared)

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
    resize: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    labels: LabelSettings | None = None,
    with_train: bool = True,
    with_test: bool = True,
    report: Report | None = None,
) -> Splits:
    """Cut the data for a network of our own training: calibration and search are held out of it.

    Images come from the cache of decoded slices, or are decoded into it; see `DataCache`.

    Args:
        train_path: file, folder, pattern or URL of the training images.
        test_path: the same of the test images.
        calibration: number of training images for statistics.
        search: number of training images that candidates are judged on.
        seed: decides which images those are.
        size: see `ParquetImages.load`; so `channels` and `resize`.
        channels: 3 (RGB) or 1 (grey).
        resize: length of the shorter side before the center is cut out.
        image_column: found by usual names if None; so `label_column`.
        label_column: column with the labels.
        labels: merges, renames or drops classes; see `LabelMap.load`.
        with_train: False leaves the training images undecoded: a search never needs them.
        with_test: False leaves the test images undecoded until the end of a search.
        report: called while images are decoded.

    Raises:
        CorruptFile: a file cannot be read.
        BadInput: too few images, train and test are one file, or their classes differ.
    """
    decoding = Decoding(channels, size, resize)
    source, tests = _open_pair(train_path, test_path, image_column, label_column, labels)
    held_out = partition(source.labels, (calibration, search), seed)
    declared = (
        f"{calibration} calibration and {search} search images are cut by class from "
        f"{source.name} with seed {seed} and left out of training ({len(held_out[2])} remain); "
        f"test is {tests.name} ({len(labelled_rows(tests.labels))})."
    )
    train_rows = held_out[2] if with_train else _NONE
    test_rows = labelled_rows(tests.labels) if with_test else _NONE
    return Splits(
        load_slice(source, train_rows, decoding, "train", report),
        load_slice(source, held_out[0], decoding, "calibration", report),
        load_slice(source, held_out[1], decoding, "search", report),
        load_slice(tests, test_rows, decoding, "test", report),
        declared,
    )


def parquet_stream(
    train_path: str | Path,
    test_path: str | Path,
    calibration: int = 512,
    search: int = 2000,
    seed: int = 0,
    *,
    size: int | None = None,
    channels: int = 3,
    resize: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    labels: LabelSettings | None = None,
    crop_scale: float | None = None,
    shuffle_buffer: int = BUFFER,
) -> ImageStream:
    """Training images as a stream: the rows that `parquet_splits` puts into `train`.

    Args:
        train_path: see `parquet_splits`; so all that are not named here.
        test_path: read for its classes only.
        calibration: held out of the stream.
        search: held out of the stream.
        seed: of the cut.
        size: height and width.
        channels: 3 (RGB) or 1 (grey).
        resize: length of the shorter side before the center is cut out.
        image_column: column with the images.
        label_column: column with the labels.
        labels: merges, renames or drops classes; see `LabelMap.load`.
        crop_scale: see `ImageStream`.
        shuffle_buffer: see `ImageStream`.

    Raises:
        CorruptFile, BadInput: as `parquet_splits` and `ImageStream`.
    """
    decoding = Decoding(channels, size, resize)
    source, _ = _open_pair(train_path, test_path, image_column, label_column, labels)
    rows = partition(source.labels, (calibration, search), seed)[2]
    return ImageStream(source, rows, decoding, crop_scale, shuffle_buffer)


def foreign_splits(
    validation_path: str | Path,
    calibration: int = 512,
    search: int = 2000,
    seed: int = 0,
    *,
    size: int | None = None,
    channels: int = 3,
    resize: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    labels: LabelSettings | None = None,
    with_test: bool = True,
    report: Report | None = None,
) -> Splits:
    """Cut a validation set for a foreign checkpoint, whose training set is unknown.

    The images that are neither calibration nor search are the test split; train is empty.
    Arguments and errors are those of `parquet_splits`.
    """
    decoding = Decoding(channels, size, resize)
    source = ParquetImages.open(
        validation_path, image_column=image_column, label_column=label_column
    )
    if labels is not None:
        source = LabelMap.load(labels).apply(source)
    parts = partition(source.labels, (calibration, search), seed)
    declared = (
        f"the training set is unknown: {calibration} calibration, {search} search and "
        f"{len(parts[2])} test images are disjoint parts of the validation set {source.name}, "
        f"cut by class with seed {seed}."
    )
    return Splits(
        load_slice(source, _NONE, decoding, "train", report),
        load_slice(source, parts[0], decoding, "calibration", report),
        load_slice(source, parts[1], decoding, "search", report),
        load_slice(source, parts[2] if with_test else _NONE, decoding, "test", report),
        declared,
    )


def _open_pair(
    train_path: str | Path,
    test_path: str | Path,
    image_column: str | None,
    label_column: str | None,
    labels: LabelSettings | None,
) -> tuple[ParquetImages, ParquetImages]:
    if Location.parse(train_path).identity == Location.parse(test_path).identity:
        raise BadInput(f"train and test are both {Location.parse(train_path)}; name two files.")
    columns = {"image_column": image_column, "label_column": label_column}
    source, tests = _same_classes(
        ParquetImages.open(train_path, **columns), ParquetImages.open(test_path, **columns)
    )
    if labels is None:
        return source, tests
    label_map = LabelMap.load(labels)
    return label_map.apply(source), label_map.apply(tests)


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
