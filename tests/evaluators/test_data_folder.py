from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import png, random_images, write_images
from PIL import Image

from spikefront.evaluators.data import (
    ImageData,
    Splits,
    check_disjoint,
    held_out_digest,
    load_splits,
)
from spikefront.evaluators.data.folder import FolderImages
from spikefront.spaces import BadInput, CorruptFile


def write_classes(root: Path, counts: dict[str, int], seed: int = 0, side: int = 6) -> Path:
    """Folders with so many PNG files each; all images are different."""
    images = iter(random_images(sum(counts.values()), seed, side))
    for name, count in counts.items():
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number:03}.png").write_bytes(png(next(images)))
    return root


def load(**settings: Any) -> Splits:
    return load_splits({"name": "folder", "calibration": 3, "search": 4, **settings})


def sizes(splits: Splits) -> dict[str, int]:
    return {name: len(data) for name, data in splits.named().items()}


def hashes(data: ImageData) -> set[bytes]:
    return set(data.image_hashes())


def test_rows_are_in_order_of_code_points_whatever_the_order_of_writing(tmp_path: Path) -> None:
    images = random_images(5)
    placed = ["b/x.png", "Z/10.png", "b/X.PNG", "Z/2.png", "a/0.png"]
    for name, image in zip(placed, images, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(image))
    source = FolderImages.open(tmp_path)
    assert source.classes == ("Z", "a", "b")
    listed = [file.relative_to(tmp_path).as_posix() for file in source.files]
    assert listed == ["Z/10.png", "Z/2.png", "a/0.png", "b/X.PNG", "b/x.png"]
    data = source.load([4, 0])
    assert np.array_equal(data.images, images[[0, 1]])
    assert data.labels.tolist() == [2, 0]


def test_hidden_files_and_links_are_passed_over(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "data", {"a": 2, "b": 1})
    outside = write_classes(tmp_path / "other", {"c": 1})
    (root / "a" / ".hidden.png").write_bytes(b"no image")
    (root / ".git").mkdir()
    (root / "README.txt").write_text("no folder")
    (root / "a" / "link.png").symlink_to(outside / "c" / "000.png")
    (root / "c").symlink_to(outside / "c")
    os.mkfifo(root / "b" / "pipe.png")
    source = FolderImages.open(root)
    assert source.classes == ("a", "b")
    assert source.labels.tolist() == [0, 0, 1]


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 1, "b": 1})
    whole = (tmp_path / "a" / "000.png").read_bytes()
    for content in (b"", b"GIF89a", whole[:40]):
        (tmp_path / "b" / "000.png").write_bytes(content)
        with pytest.raises(CorruptFile, match=r"b/000\.png: the image cannot be decoded"):
            FolderImages.open(tmp_path).load([0, 1])
    source = FolderImages.open(tmp_path)
    (tmp_path / "b" / "000.png").unlink()
    with pytest.raises(CorruptFile, match=r"b/000\.png: cannot be read"):
        source.load([1])


def test_unlike_sizes_need_a_size(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 1})
    Image.new("L", (8, 5)).save(tmp_path / "a" / "wide.jpg")
    source = FolderImages.open(tmp_path)
    with pytest.raises(BadInput, match=r"wide\.jpg: the image is \(5, 8\).*pass size"):
        source.load([0, 1])
    assert source.load([0, 1], size=4, channels=1).images.shape == (2, 1, 4, 4)
    assert source.load([], size=4).images.shape == (0, 3, 4, 4)


def test_parts_of_unlike_sizes_need_a_size(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"a": 10, "b": 10})
    write_classes(tmp_path / "val", {"a": 2, "b": 2}, seed=1, side=9)
    with pytest.raises(BadInput, match=r"images of test are \(3, 9, 9\), of search \(3, 6, 6\)"):
        load(root=str(tmp_path))
    assert load(root=str(tmp_path), size=5).test.images.shape == (4, 3, 5, 5)


def test_root_with_two_parts(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"a": 10, "b": 10})
    write_classes(tmp_path / "val", {"a": 3, "b": 2}, seed=1)
    splits = load(root=str(tmp_path))
    assert sizes(splits) == {"train": 13, "calibration": 3, "search": 4, "test": 5}
    assert "left out of training (13 remain); test is val (5)" in splits.declared
    assert check_disjoint(splits, strict=True).disjoint
    named = load(train=str(tmp_path / "train"), test=str(tmp_path / "val"))
    assert {n: d.digest for n, d in named.named().items()} == {
        n: d.digest for n, d in splits.named().items()
    }
    lazy = load_splits(
        {"name": "folder", "calibration": 3, "search": 4, "root": str(tmp_path)},
        with_train=False,
        with_test=False,
    )
    assert sizes(lazy) == {"train": 0, "calibration": 3, "search": 4, "test": 0}
    assert (
        held_out_digest(lazy)
        == held_out_digest(splits)
        != held_out_digest(load(root=str(tmp_path), seed=1))
    )


def test_root_with_three_parts_trains_on_all_of_train(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "val", "test")):
        write_classes(tmp_path / part, {"a": 6, "b": 5}, seed)
    splits = load(root=str(tmp_path))
    assert sizes(splits) == {"train": 11, "calibration": 3, "search": 4, "test": 11}
    judged = FolderImages.open(tmp_path / "val").load(range(11))
    assert hashes(splits.calibration) | hashes(splits.search) < hashes(judged)
    assert "(4 are not used)" in splits.declared


def test_root_of_classes_is_cut_in_four(tmp_path: Path) -> None:
    write_classes(tmp_path, {"train": 20, "car": 10, "bus": 10})
    splits = load(root=str(tmp_path))
    assert splits.search.classes == ("bus", "car", "train")
    assert sizes(splits) == {"train": 25, "calibration": 3, "search": 4, "test": 8}
    assert check_disjoint(splits, strict=True).disjoint
    assert sizes(load(root=str(tmp_path), test_images=2))["test"] == 2


def test_validation_alone_is_for_foreign_checkpoints(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 8, "b": 8})
    splits = load(validation=str(tmp_path))
    assert sizes(splits) == {"train": 0, "calibration": 3, "search": 4, "test": 9}
    assert "training set is unknown" in splits.declared


def test_an_image_in_two_parts_is_found(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"a": 10, "b": 10})
    write_classes(tmp_path / "test", {"a": 2, "b": 2}, seed=1)
    copied = (tmp_path / "train" / "b" / "004.png").read_bytes()
    (tmp_path / "test" / "a" / "copy.png").write_bytes(copied)
    overlap = check_disjoint(load(root=str(tmp_path)))
    assert list(overlap.across.values()) == [1]
    assert next(iter(overlap.across))[1] == "test"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no folders"),
        (["a.png"], "holds no folders"),
        (["a/", "b/"], "hold no images"),
        (["a/x.heic"], r"x\.heic: no image by its name"),
        (["a/b/x.png"], "a/b: a folder within the folder of a class"),
        (["train/a/x.png", "cats/y.png"], "train/a: a folder within"),
        (["train/a/x.png"], "holds train only"),
        (["val/a/x.png", "test/a/x.png"], "holds test, val only.*validation: .*test"),
        (["train/a/x.png", "val/b/x.png"], "train: holds no folder b, as other parts do"),
        (["a\nb/x.png"], r"'a\\nb'; give its class a plain name"),
    ],
)
def test_wrong_layouts_are_refused(tmp_path: Path, files: list[str], message: str) -> None:
    (image,) = random_images(1)
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_bytes(png(image))
    with pytest.raises(BadInput, match=message):
        load(root=str(tmp_path))


def test_an_empty_class_folder_is_a_class(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"a": 10, "b": 10})
    write_classes(tmp_path / "test", {"a": 2, "b": 0}, seed=1)
    assert load(root=str(tmp_path)).test.classes == ("a", "b")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no paths: give root"),
        ({"train": "x"}, "with train: give root"),
        ({"root": "x", "test": "x"}, "with root and test: give root alone"),
        ({"train": "x", "test": "x"}, "train and test are one folder"),
        ({"root": "nowhere"}, "nowhere: cannot be listed"),
        ({"validation": "x", "test_images": 3}, "test_images is for a root"),
        ({"root": "x", "search": 400}, "4, 3, 400 images from 20"),
        ({"root": "x", "test_images": "3"}, "'test_images' is '3'; give a whole number"),
        ({"root": "x", "image_column": "img"}, "unknown data setting 'image_column'"),
        ({"root": "x", "labels": 3}, "'labels' is 3; give a string"),
    ],
)
def test_unusable_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    write_classes(tmp_path / "x", {"a": 10, "b": 10})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=message):
        load(**settings)


def test_folders_and_parquet_of_the_same_images_agree(tmp_path: Path) -> None:
    images = random_images(20)
    ordered = np.concatenate([images[::2], images[1::2]])
    for label, name in enumerate("ab"):
        (tmp_path / "x" / name).mkdir(parents=True)
        for number, image in enumerate(images[label::2]):
            (tmp_path / "x" / name / f"{number:02}.png").write_bytes(png(image))
    parquet = write_images(tmp_path / "x.parquet", images, classes=["a", "b"])
    both = [FolderImages.open(tmp_path / "x").load(range(20))]
    both.append(
        load_splits(
            {"name": "parquet", "validation": str(parquet), "calibration": 3, "search": 4}
        ).test
    )
    assert np.array_equal(both[0].images, ordered)
    assert hashes(both[1]) < hashes(both[0])
    assert both[0].classes == both[1].classes
