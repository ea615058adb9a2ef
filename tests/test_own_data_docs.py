"""The configs of docs/own-data.md fit the data that it describes."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from spikefront.evaluators.data import Splits, load_splits
from spikefront.evaluators.training.job import TrainingJob
from spikefront.search.config import Config

TEXT = (Path(__file__).parents[1] / "docs" / "own-data.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
BREEDS = ("siamese", "persian", "beagle", "parrot")


def _blocks(field: str) -> list[dict[str, Any]]:
    """Parsed examples with this field at the top."""
    found = [parsed for block in BLOCKS if field in (parsed := yaml.safe_load(block))]
    assert found
    return found


def _images(count: int) -> list[bytes]:
    """PNG files of 12 x 10 pixels, each of a colour of its own."""
    encoded = []
    for colour in range(count):
        buffer = io.BytesIO()
        Image.new("RGB", (12, 10), (colour % 256, colour // 256, 7)).save(buffer, format="PNG")
        encoded.append(buffer.getvalue())
    return encoded


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders and files that the page speaks of."""
    images = _images(600)
    for path in re.findall(r"photos/(\w+/\w+)/001\.jpg", TEXT):
        part, name = path.split("/")
        folder = tmp_path / "photos" / part / name
        folder.mkdir(parents=True)
        for number, image in enumerate(images[: 200 if part == "train" else 5]):
            (folder / f"{number:03}.png").write_bytes(image)
    (tmp_path / "pets").mkdir()
    for part, count in (("train", 800), ("test", 12)):
        labels = [number % len(BREEDS) for number in range(count)]
        table = pa.table({"image": _images(count), "species": labels})
        info = json.dumps({"info": {"features": {"species": {"names": BREEDS}}}})
        table = table.replace_schema_metadata({"huggingface": info})
        pq.write_table(table, tmp_path / "pets" / f"{part}.parquet")
    (label_map,) = _blocks("classes")
    (tmp_path / "pets" / "labels.yaml").write_text(yaml.safe_dump(label_map))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _sizes(splits: Splits) -> list[int]:
    return [len(data) for data in splits.named().values()]


def test_data_sections(here: Path) -> None:
    sections = {block["data"]["name"]: block["data"] for block in _blocks("data")}
    photos = load_splits(sections["folder"])
    assert _sizes(photos) == [72, 128, 400, 15]
    assert photos.search.images.shape == (400, 3, 32, 32)
    assert photos.search.classes == ("cat", "dog", "truck")


def test_parquet_section_with_its_label_map(here: Path) -> None:
    (section,) = (b["data"] for b in _blocks("data") if b["data"]["name"] == "parquet")
    pets = load_splits(section)
    assert _sizes(pets) == [72, 128, 400, 9]
    assert pets.search.classes == ("cat", "dog")
    assert np.bincount(pets.test.labels).tolist() == [6, 3]


def test_training_and_search_configs(here: Path) -> None:
    jobs = [TrainingJob.from_dict(block) for block in _blocks("network")]
    (search,) = (Config.parse(yaml.safe_dump(block), "search.yaml") for block in _blocks("model"))
    assert all(dict(job.data) == dict(search.data) for job in jobs)
    assert {str(job.output) for job in jobs} == {search.model.checkpoint}
    assert _sizes(load_splits(search.data)) == [72, 128, 400, 15]
