from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_files import png, random_images, write_images, write_parquet
from PIL import Image

from spikefront.evaluators.data import ParquetImages, load_parquet
from spikefront.spaces import BadInput, CorruptFile

CIFAR10 = Path(__file__).parents[3] / "shared" / "data" / "cifar10" / "test.parquet"


def test_nested_file_with_class_names(tmp_path: Path) -> None:
    images = random_images(10)
    data = load_parquet(write_images(tmp_path / "train.parquet", images, classes=["cat", "dog"]))
    assert np.array_equal(data.images, images)
    assert data.labels.tolist() == [0, 1] * 5
    assert data.classes == ("cat", "dog")
    assert data.name == "train"


@pytest.mark.parametrize("columns", [("image", "labels"), ("images", "fine_label")])
def test_plain_binary_column_by_other_usual_names(tmp_path: Path, columns: tuple[str, str]) -> None:
    images = random_images(3)
    encoded = [png(image) for image in images]
    path = write_parquet(tmp_path / "x.parquet", encoded, [0, 2, 0], columns=columns, nested=False)
    data = load_parquet(path)
    assert np.array_equal(data.images, images)
    assert data.classes == ("0", "1", "2")


def test_columns_by_hand_and_an_error_that_lists_them(tmp_path: Path) -> None:
    encoded = [png(image) for image in random_images(3)]
    path = write_parquet(tmp_path / "x.parquet", encoded, [0, 1, 0], columns=("photo", "kind"))
    with pytest.raises(BadInput, match=r"no label column.*photo: struct.*kind: int64.*label_col"):
        load_parquet(path)
    with pytest.raises(BadInput, match=r"no image column 'fotos'.*photo: struct.*Pass image_col"):
        load_parquet(path, image_column="fotos", label_column="kind")
    assert len(load_parquet(path, image_column="photo", label_column="kind")) == 3


def test_columns_of_wrong_type_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"img": ["a.png"], "label": [0]}), path)
    with pytest.raises(BadInput, match="'img' is string; it must hold encoded images"):
        load_parquet(path)
    pq.write_table(pa.table({"img": [b"x"], "label": ["cat"]}), path)
    with pytest.raises(BadInput, match="'label' is string; it must hold integers"):
        load_parquet(path)


def test_folder_of_shards_is_read_in_order_of_names(tmp_path: Path) -> None:
    images = random_images(12)
    for number in (2, 0, 1):
        part = images[number * 4 : number * 4 + 4]
        write_images(tmp_path / f"train-0000{number}-of-00003.parquet", part, group=3)
    (tmp_path / "_temporary.parquet").write_bytes(b"half written")
    assert np.array_equal(load_parquet(tmp_path).images, images)
    rows = [11, 3, 4, 3, 0]
    picked = load_parquet(tmp_path, indices=rows)
    assert np.array_equal(picked.images, images[rows])
    assert picked.labels.tolist() == [1, 1, 0, 1, 0]


def test_shards_of_several_splits_are_not_mixed(tmp_path: Path) -> None:
    images = random_images(8)
    write_images(tmp_path / "train-00000-of-00001.parquet", images[:4])
    write_images(tmp_path / "test-00000-of-00001.parquet", images[4:])
    with pytest.raises(BadInput, match=r"several splits \(test, train\)"):
        load_parquet(tmp_path)
    assert np.array_equal(load_parquet(tmp_path / "train-*.parquet").images, images[:4])


def test_limit_takes_the_first_and_excludes_indices(tmp_path: Path) -> None:
    images = random_images(9)
    path = write_images(tmp_path / "x.parquet", images)
    assert np.array_equal(load_parquet(path, limit=5).images, images[:5])
    assert len(load_parquet(path, limit=100)) == 9
    with pytest.raises(BadInput, match="no indices"):
        load_parquet(path, limit=2, indices=[0])
    with pytest.raises(BadInput, match=r"rows 0\.\.9 of 9"):
        load_parquet(path, indices=[0, 9])
    with pytest.raises(BadInput, match="rows -1"):
        load_parquet(path, indices=[-1])


def test_only_rows_that_are_asked_for_are_decoded(tmp_path: Path) -> None:
    encoded: list[bytes | None] = [png(image) for image in random_images(6)]
    encoded[2] = b"no image at all"
    path = write_parquet(tmp_path / "x.parquet", encoded, [0] * 6)
    assert len(load_parquet(path, indices=[0, 1, 3, 5])) == 4
    with pytest.raises(CorruptFile, match=r"x\.parquet, row 2: the image cannot be decoded"):
        load_parquet(path)


def test_only_row_groups_that_are_asked_for_are_read(tmp_path: Path) -> None:
    path = write_images(tmp_path / "x.parquet", random_images(12), group=4)
    broken = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    start = broken.dictionary_page_offset or broken.data_page_offset
    content[start : start + broken.total_compressed_size] = b"\xff" * broken.total_compressed_size
    path.write_bytes(content)
    assert len(load_parquet(path, indices=[0, 3, 8, 11])) == 4
    with pytest.raises(CorruptFile, match=r"x\.parquet: not a readable Parquet file"):
        load_parquet(path, indices=[4])


def test_images_that_are_null_truncated_or_too_deep(tmp_path: Path) -> None:
    whole = png(random_images(1, side=32)[0])
    deep = io.BytesIO()
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(deep, format="PNG")
    path = write_parquet(
        tmp_path / "x.parquet", [None, whole[: len(whole) // 2], deep.getvalue()], [0, 0, 0]
    )
    with pytest.raises(CorruptFile, match="row 0: the image is null"):
        load_parquet(path, indices=[0])
    with pytest.raises(CorruptFile, match="row 1: the image cannot be decoded"):
        load_parquet(path, indices=[1])
    with pytest.raises(BadInput, match="row 2: image mode I;16; store 8 bits"):
        load_parquet(path, indices=[2])


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, None, 1], None, "row 1: the label is null"),
        ([0, 1, -1], None, "row 2: label -1; allowed: 0 and up"),
        ([0, 2, 1], ["a", "b"], r"row 1: label 2; allowed: 0\.\.1"),
    ],
)
def test_unusable_labels(
    tmp_path: Path, labels: list[int | None], classes: list[str] | None, message: str
) -> None:
    encoded = [png(image) for image in random_images(3)]
    path = write_parquet(tmp_path / "x.parquet", encoded, labels, classes=classes)
    with pytest.raises(CorruptFile, match=message):
        load_parquet(path)


def test_missing_empty_truncated_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file or folder"):
        load_parquet(tmp_path / "nothing.parquet")
    with pytest.raises(BadInput, match=r"holds no \.parquet file"):
        load_parquet(tmp_path)
    path = write_images(tmp_path / "x.parquet", random_images(4))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorruptFile, match=r"x\.parquet: not a readable Parquet file"):
        load_parquet(path)
    with pytest.raises(BadInput, match="holds no rows"):
        load_parquet(write_parquet(tmp_path / "none.parquet", [], []))


def test_broken_or_unlike_metadata(tmp_path: Path) -> None:
    table = pa.table({"img": [b"x"], "label": [0]})
    path = tmp_path / "broken.parquet"
    pq.write_table(table.replace_schema_metadata({"huggingface": "{"}), path)
    with pytest.raises(CorruptFile, match="does not describe column 'label'"):
        load_parquet(path)
    path.unlink()
    write_images(tmp_path / "a.parquet", random_images(2), classes=["a", "b"])
    write_images(tmp_path / "b.parquet", random_images(2), classes=["b", "a"])
    with pytest.raises(BadInput, match="unlike classes"):
        load_parquet(tmp_path)


def test_unlike_sizes_need_a_size(tmp_path: Path) -> None:
    wide = np.zeros((3, 8, 20), np.uint8)
    wide[:, :, 6:14] = 200
    square = random_images(1, side=8)[0]
    path = write_parquet(tmp_path / "x.parquet", [png(square), png(wide)], [0, 0])
    with pytest.raises(BadInput, match=r"row 1.*\(8, 20\).*\(8, 8\).*pass size"):
        load_parquet(path)
    data = load_parquet(path, size=8)
    assert np.array_equal(data.images[0], square)
    assert (data.images[1] == 200).all()  # the center of the wide one


def test_size_resizes_the_shorter_side(tmp_path: Path) -> None:
    wide = np.broadcast_to(np.arange(40, dtype=np.uint8) * 6, (3, 20, 40)).copy()
    path = write_parquet(tmp_path / "x.parquet", [png(wide)], [0])
    image = load_parquet(path, size=5).images[0]
    expected = Image.fromarray(wide.transpose(1, 2, 0)).resize((10, 5), Image.Resampling.BICUBIC)
    assert np.array_equal(image, np.asarray(expected).transpose(2, 0, 1)[:, :, 2:7])


def test_channels_convert_between_grey_and_colour(tmp_path: Path) -> None:
    grey = random_images(2)[:, :1]
    path = write_parquet(tmp_path / "x.parquet", [png(image) for image in grey], [0, 0])
    assert np.array_equal(load_parquet(path, channels=1).images, grey)
    assert np.array_equal(load_parquet(path).images, grey.repeat(3, axis=1))
    with pytest.raises(BadInput, match="channels 2"):
        load_parquet(path, channels=2)


def test_open_reads_labels_and_no_image(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", [b"broken"] * 3, [0, 1, 1])
    source = ParquetImages.open(path)
    assert source.labels.tolist() == [0, 1, 1]
    empty = source.load([], size=4)
    assert empty.images.shape == (0, 3, 4, 4)


@pytest.mark.skipif(not CIFAR10.exists(), reason="no CIFAR-10 next to the repository")
def test_cifar10() -> None:
    data = load_parquet(CIFAR10, limit=100)
    assert data.images.shape == (100, 3, 32, 32)
    assert data.classes[:2] == ("airplane", "automobile")
