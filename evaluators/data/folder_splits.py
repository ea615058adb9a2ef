"""From folders of images to splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spaces.errors import BadInput
from .dataset import ImageData
from .folder import FolderImages, list_folders
from .labels import LabelMap, LabelSettings, labelled_rows
from .partition import partition
from .splits import Splits

PARTS = ("train", "val", "test")
"""Names of folders in a root that hold a part of the data set each."""

_TEST_SHARE = 5
"""One image in so many is for the test where a folder comes without parts."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of a source that make a split."""

    source: FolderImages
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, pixels: Mapping[str, Any], wanted: bool = True) -> ImageData:
        return self.source.load(self.rows if wanted else (), **pixels)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which rows of which sources make which split, and the sentence that says so."""

    train: _Rows
    calibration: _Rows
    search: _Rows
    test: _Rows
    declared: str


def folder_splits(
    *,
    root: str | Path | None = None,
    train: str | Path | None = None,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    labels: LabelSettings | None = None,
    calibration: int = 512,
    search: int = 2000,
    test_images: int | None = None,
    seed: int = 0,
    size: int | None = None,
    resize: int | None = None,
    channels: int = 3,
    with_train: bool = True,
    with_test: bool = True,
) -> Splits:
    """Cut folders of class folders into splits.

    - `train` and `test`: calibration and search are held out of the training images.
    - `train`, `validation` and `test`: they are taken from the validation images.
    - `validation` alone: for a foreign checkpoint, whose training set is unknown.
    - `root` with the folders ``train`` and ``val`` or ``test`` or both: as above; where there is
      no ``test``, ``val`` is the test.
    - `root` with class folders: all four splits are cut from it.

    Args:
        root: folder of the whole data set; so much for all paths, see above.
        train: folder of the training images.
        validation: folder of the validation images.
        test: folder of the test images.
        labels: see `LabelMap.load`.
        calibration: number of images for statistics.
        search: number of images that candidates are judged on.
        test_images: number of test images to cut from a root without parts; None: a fifth.
        seed: decides which images those are.
        size: see `FolderImages.load`; so `resize` and `channels`.
        resize: length of the shorter side before the center is cut out.
        channels: 3 (RGB) or 1 (grey).
        with_train: False leaves the training images undecoded.
        with_test: False leaves the test images undecoded.

    Raises:
        CorruptFile: an image or the label map cannot be read; names the file.
        BadInput: other combinations of paths, unlike classes, too few images.
    """
    given = {"train": train, "validation": validation, "test": test}
    paths = {name: Path(path).expanduser() for name, path in given.items() if path is not None}
    if root is not None:
        paths = _parts(Path(root).expanduser(), paths)
    if "root" not in paths and test_images is not None:
        raise BadInput("test_images is for a root of class folders; here the test has its own.")
    sources = _open(paths, None if labels is None else LabelMap.load(labels))
    plan = _plan(sources, (calibration, search), test_images, seed)
    pixels = {"size": size, "resize": resize, "channels": channels}
    return Splits(
        plan.train.load(pixels, with_train),
        plan.calibration.load(pixels),
        plan.search.load(pixels),
        plan.test.load(pixels, with_test),
        plan.declared,
    )


def _parts(root: Path, others: Mapping[str, Path]) -> dict[str, Path]:
    """Paths by role of the parts of a root; the root itself where it has none."""
    if others:
        raise BadInput(f"folder data with root and {', '.join(others)}: give root alone.")
    folders = list_folders(root)
    if not folders or not set(folders) <= set(PARTS):
        return {"root": root}
    if "train" not in folders or len(folders) == 1:
        raise BadInput(
            f"{root}: holds {', '.join(folders)} only; give `train` and `val` or `test`, or for a "
            f"foreign checkpoint `validation: {root / folders[0]}` instead of root."
        )
    if "test" not in folders:
        return {"train": root / "train", "test": root / "val"}
    paths = {"train": root / "train", "validation": root / "val", "test": root / "test"}
    return paths if "val" in folders else {name: paths[name] for name in ("train", "test")}


def _open(paths: Mapping[str, Path], labels: LabelMap | None) -> dict[str, FolderImages]:
    where = [path.resolve() for path in paths.values()]
    if len(set(where)) < len(where):
        raise BadInput(f"{' and '.join(paths)} are one folder; name different ones.")
    sources = {name: FolderImages.open(path) for name, path in paths.items()}
    _check_classes(paths, sources)
    if labels is None:
        return sources
    return {name: labels.apply(source) for name, source in sources.items()}


def _check_classes(paths: Mapping[str, Path], sources: Mapping[str, FolderImages]) -> None:
    every = {name for source in sources.values() for name in source.classes}
    for role, source in sources.items():
        missing = sorted(every - set(source.classes))
        if missing:
            raise BadInput(
                f"{paths[role]}: holds no folder {', '.join(missing)}, as other parts do; all "
                "parts need the same classes. Rename it, or make it: it may be empty."
            )


def _plan(
    sources: Mapping[str, FolderImages],
    held_out: tuple[int, int],
    test_images: int | None,
    seed: int,
) -> _Plan:
    match sorted(sources):
        case ["root"]:
            return _plan_whole(sources["root"], held_out, test_images, seed)
        case ["validation"]:
            return _plan_foreign(sources["validation"], held_out, seed)
        case ["test", "train"]:
            return _plan_own(sources["train"], sources["test"], held_out, seed)
        case ["test", "train", "validation"]:
            return _plan_three(sources, held_out, seed)
        case given:
            raise BadInput(
                f"folder data with {' and '.join(given) or 'no paths'}: give root, or train and "
                "test (and validation), or validation alone (a foreign checkpoint)."
            )


def _plan_own(
    source: FolderImages, tests: FolderImages, held_out: tuple[int, int], seed: int
) -> _Plan:
    calibration, search, train = _cut(source, held_out, seed)
    test = _Rows(tests, labelled_rows(tests.labels))
    declared = (
        f"{len(calibration)} calibration and {len(search)} search images are cut by class from "
        f"{source.name} with seed {seed} and left out of training ({len(train)} remain); "
        f"test is {tests.name} ({len(test)})."
    )
    return _Plan(train, calibration, search, test, declared)


def _plan_three(sources: Mapping[str, FolderImages], held_out: tuple[int, int], seed: int) -> _Plan:
    source, judged, tests = (sources[name] for name in ("train", "validation", "test"))
    calibration, search, unused = _cut(judged, held_out, seed)
    train = _Rows(source, labelled_rows(source.labels))
    test = _Rows(tests, labelled_rows(tests.labels))
    declared = (
        f"train is {source.name} ({len(train)}); {len(calibration)} calibration and {len(search)} "
        f"search images are cut by class from {judged.name} with seed {seed} ({len(unused)} are "
        f"not used); test is {tests.name} ({len(test)})."
    )
    return _Plan(train, calibration, search, test, declared)


def _plan_foreign(source: FolderImages, held_out: tuple[int, int], seed: int) -> _Plan:
    calibration, search, test = _cut(source, held_out, seed)
    declared = (
        f"the training set is unknown: {len(calibration)} calibration, {len(search)} search and "
        f"{len(test)} test images are disjoint parts of the validation set {source.name}, cut by "
        f"class with seed {seed}."
    )
    return _Plan(_Rows(source, np.empty(0, np.int64)), calibration, search, test, declared)


def _plan_whole(
    source: FolderImages, held_out: tuple[int, int], test_images: int | None, seed: int
) -> _Plan:
    tests = len(labelled_rows(source.labels)) // _TEST_SHARE if test_images is None else test_images
    test, calibration, search, train = _cut(source, (tests, *held_out), seed)
    declared = (
        f"{source.name} ({len(labelled_rows(source.labels))} images) is cut by class with seed "
        f"{seed}: {len(train)} train, {len(calibration)} calibration, {len(search)} search, "
        f"{len(test)} test."
    )
    return _Plan(train, calibration, search, test, declared)


def _cut(source: FolderImages, counts: tuple[int, ...], seed: int) -> list[_Rows]:
    """One part per count, then one of what is left."""
    return [_Rows(source, rows) for rows in partition(source.labels, counts, seed)]
