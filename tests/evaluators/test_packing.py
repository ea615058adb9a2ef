"""Front members as packed folders, and what verification finds in altered ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluated_models import PLAIN, chosen, parquet_model, tiny_network, write_grey

from spikefront.evaluators.blueprint import Blueprint
from spikefront.evaluators.evaluation import Request
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.evaluators.packing import pack_member, verify
from spikefront.evaluators.preparation import TrainedModel, prepare
from spikefront.spaces import BadInput, Candidate, CorruptFile
from spikefront.svtmodels.costs import static_costs
from spikefront.svtmodels.packed.reader import load_packed, read_golden, read_manifest
from spikefront.svtmodels.surgery.compress import compress

MEMBER = chosen(tiny_network(), channel=0.5, weight=4, token=0.75, time=2)


class Packed:
    """A packed member in a folder of its own, with everything that it came from."""

    def __init__(self, folder: Path, candidate: Candidate = MEMBER) -> None:
        checkpoint, self.data = parquet_model(folder)
        model = TrainedModel.load(str(checkpoint), None, {})
        settings = EvaluationSettings(batch_size=8, gate_images=8, **PLAIN)
        self.blueprint, _ = prepare(model, self.data, settings, 0)
        self.candidate = candidate
        self.record = measured(self.blueprint, candidate, self.data)
        self.folder = folder / "member"
        self.container = pack_member(self.blueprint, candidate, self.folder, self.record)

    def alter(self, **record: Any) -> Path:
        """Write other values into the record of the manifest."""
        path = self.folder / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["record"] |= record
        path.write_text(json.dumps(manifest))
        return self.folder


def measured(blueprint: Blueprint, candidate: Candidate, data: dict[str, Any]) -> dict[str, Any]:
    judge = blueprint.build()
    search = judge(Request(candidate)).measures
    test = judge(Request(candidate, test=True)).measures
    return {"data": data, "bytes": search["bytes"], **test}


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    return Packed(tmp_path)


def test_a_packed_member_proves_its_record(packed: Packed) -> None:
    found = verify(packed.folder)
    assert found.passed
    assert found.golden
    assert found.bytes_measured == found.bytes_recorded
    assert found.bytes_measured == static_costs(packed.blueprint.network(), MEMBER).bytes
    assert found.accuracy_measured == found.accuracy_recorded == packed.record["accuracy_test"]
    assert found.n_test == 12


@pytest.mark.parametrize("levels", [{}, {"weight": 2}, {"channel": 0.5, "time": 1}], ids=str)
def test_other_members_prove_theirs(tmp_path: Path, levels: dict[str, float]) -> None:
    assert verify(Packed(tmp_path, chosen(tiny_network(), **levels)).folder).passed


def test_what_a_packed_member_carries(packed: Packed) -> None:
    record = read_manifest(packed.folder)["record"]
    blueprint = packed.blueprint
    assert record == {
        **packed.record,
        "preprocessing": {"mean": [0.5], "std": [0.25]},
        "classes": ["0", "1", "2"],
        "test_digest": blueprint.test.digest,
        "search_digest": blueprint.search.digest,
    }
    assert load_packed(packed.folder).candidate == MEMBER
    golden = read_golden(packed.folder)
    inputs = blueprint.preprocessing.apply(blueprint.calibration.images[:4])
    np.testing.assert_array_equal(golden["inputs"], inputs.numpy())
    logits = compress(blueprint.network(), MEMBER)(inputs).detach().numpy()
    np.testing.assert_array_equal(golden["logits"], logits)


def test_the_size_of_the_container_is_that_of_its_files(packed: Packed) -> None:
    sizes = [path.stat().st_size for path in packed.folder.iterdir()]
    assert packed.container == sum(sizes) > packed.record["bytes"]


def test_packing_again_replaces_the_folder(packed: Packed) -> None:
    stray = packed.folder / "stray"
    stray.touch()
    again = pack_member(packed.blueprint, MEMBER, packed.folder, packed.record)
    assert again == packed.container
    assert not stray.exists()
    assert [path.name for path in packed.folder.parent.glob("member*")] == ["member"]


def test_other_recorded_bytes_are_found(packed: Packed) -> None:
    found = verify(packed.alter(bytes=packed.record["bytes"] - 64), with_data=False)
    assert not found.passed
    assert found.golden
    assert found.bytes_measured == found.bytes_recorded + 64


def test_another_recorded_accuracy_is_found(packed: Packed) -> None:
    flattered = packed.record["accuracy_test"] + 1 / 12
    assert not verify(packed.alter(accuracy_test=flattered)).passed
    # Nothing was measured that it could be compared with.
    without = verify(packed.folder, with_data=False)
    assert without.passed
    assert (without.accuracy_measured, without.n_test) == (None, 0)


def test_near_threshold_flips_of_other_hardware_are_tolerated(packed: Packed) -> None:
    accuracy = packed.record["accuracy_test"]
    assert verify(packed.alter(accuracy_test=accuracy + 0.0049)).passed
    assert not verify(packed.alter(accuracy_test=accuracy + 0.0051)).passed


@pytest.mark.parametrize("name", ["model.safetensors", "golden.safetensors"])
def test_an_altered_file_is_found(packed: Packed, name: str) -> None:
    path = packed.folder / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match=f"{name} was truncated or altered"):
        verify(packed.folder)
    path.unlink()
    with pytest.raises(CorruptFile, match=f"{name} is missing"):
        verify(packed.folder)


def test_golden_vectors_of_another_network_are_found(packed: Packed, tmp_path: Path) -> None:
    other = tmp_path / "other"
    pack_member(packed.blueprint, Candidate(), other, packed.record)
    shutil.copy(other / "golden.safetensors", packed.folder)
    manifest = json.loads((packed.folder / "manifest.json").read_text())
    manifest["sha256"] |= {
        "golden.safetensors": read_manifest(other)["sha256"]["golden.safetensors"]
    }
    (packed.folder / "manifest.json").write_text(json.dumps(manifest))
    found = verify(packed.folder, with_data=False)
    assert not found.golden
    assert not found.passed


def test_test_images_that_are_gone_or_other_ones(packed: Packed) -> None:
    path = Path(packed.data["test"])
    path.unlink()
    with pytest.raises(BadInput, match=r"test\.parquet: no such file"):
        verify(packed.folder)
    assert verify(packed.folder, with_data=False).passed
    write_grey(path, 12, packed.blueprint.network(), seed=3)
    with pytest.raises(BadInput, match="the test images are not those of its record"):
        verify(packed.folder)


def test_a_record_without_data_is_verified_by_bytes_and_golden_vectors(tmp_path: Path) -> None:
    packed = Packed(tmp_path)
    pack_member(packed.blueprint, MEMBER, packed.folder, {"accuracy_test": 0.5})
    found = verify(packed.folder)
    assert found.passed
    assert found.bytes_recorded == found.bytes_measured > 0
    assert found.accuracy_measured is None


def test_any_other_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no packed folder"):
        verify(tmp_path)
