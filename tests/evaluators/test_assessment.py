"""Accuracy of stored models, by known answers and by all the ways to name a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from evaluated_models import digits_network, parquet_model, tiny_network
from torch import Tensor

from spikefront.evaluators.accuracy import accuracy, batches, correct
from spikefront.evaluators.assessment import SPLITS, assess, seconds_per_image
from spikefront.evaluators.data import ImageData, Preprocessing, load_splits
from spikefront.evaluators.evaluation import Request
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.evaluators.intervals import wilson_interval
from spikefront.evaluators.packing import pack_member
from spikefront.evaluators.preparation import TrainedModel, prepare
from spikefront.spaces import BadInput, Candidate
from spikefront.svtmodels.inspection import load_model
from spikefront.svtmodels.network import Network
from spikefront.svtmodels.packed.writer import save_packed

RAW = Preprocessing((0.0,), (1.0,))


class Oracle:
    """Answers with the class that an image's first pixel names; remembers its batches."""

    device = torch.device("cpu")

    def __init__(self, card: dict[str, Any] | None = None) -> None:
        self.card = card or {}
        self.sizes: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        named = (images[:, 0, 0, 0] * 255).round().long()
        return torch.nn.functional.one_hot(named, 10).float()

    def as_network(self) -> Network:
        return cast(Network, self)


class AlwaysTwo(Oracle):
    """Knows one answer."""

    def __call__(self, images: Tensor) -> Tensor:
        return torch.tensor([0.0, 0.0, 1.0]).expand(len(images), 3)


def named(answers: list[int], labels: list[int]) -> ImageData:
    """Images on which `Oracle` gives these answers."""
    images = np.zeros((len(answers), 1, 2, 2), np.uint8)
    images[:, 0, 0, 0] = answers
    return ImageData(images, np.array(labels, np.int64), tuple("0123456789"), "named")


def test_right_and_wrong_answers_in_order() -> None:
    oracle = Oracle()
    data = named([1, 2, 3, 4, 5], [1, 0, 3, 4, 0])
    got = correct(oracle.as_network(), data, RAW, 2)
    assert got.dtype == torch.bool
    assert got.tolist() == [True, False, True, True, False]
    assert oracle.sizes == [2, 2, 1]
    assert accuracy(oracle.as_network(), data, RAW) == 0.6
    assert oracle.sizes[3:] == [5]


def test_without_images_there_is_nothing_right() -> None:
    oracle = Oracle()
    empty = named([], [])
    got = correct(oracle.as_network(), empty, RAW)
    assert (got.shape, got.dtype) == ((0,), torch.bool)
    assert accuracy(oracle.as_network(), empty, RAW) == 0.0
    assert oracle.sizes == []


def test_batches_are_preprocessed_and_keep_their_order() -> None:
    data = named([0, 51, 255], [0, 1, 2])
    (first, labels), (last, rest) = batches(data, Preprocessing((0.2,), (0.4,)), 2)
    assert first[:, 0, 0, 0].tolist() == pytest.approx([-0.5, 0.0], abs=1e-6)
    assert last[0, 0, 0, 0].item() == pytest.approx(2.0)
    assert (labels.tolist(), rest.tolist()) == ([0, 1], [2])
    labels += 1  # A copy: the data is read-only.
    assert data.labels.tolist() == [0, 1, 2]


def test_known_answers_of_a_split(tmp_path: Path) -> None:
    _, data = parquet_model(tmp_path)
    splits = load_splits(data)
    two = AlwaysTwo({"data": data, "preprocessing": RAW.to_dict()})
    for split, count in {"test": 12, "search": 20, "calibration": 8}.items():
        got = assess(two.as_network(), None, split, batch_size=7)
        right = int((splits.named()[split].labels == 2).sum())
        assert (got["split"], got["n"]) == (split, count)
        assert got["accuracy"] == right / count
        assert got["interval"] == list(wilson_interval(right, count))
        assert got["images_per_second"] > 0


def test_an_unknown_split_names_the_nearest() -> None:
    assert SPLITS == ("test", "search", "calibration")
    with pytest.raises(BadInput, match=r"unknown split 'tests'\. Did you mean 'test'\?"):
        assess(Oracle().as_network(), {"name": "digits"}, "tests")
    with pytest.raises(BadInput, match="unknown split 'train'"):
        assess(Oracle().as_network(), {"name": "digits"}, "train")


def test_a_model_that_does_not_name_its_data_must_be_told() -> None:
    network = tiny_network()
    with pytest.raises(BadInput, match="give --data"):
        assess(network, None, "test")


def test_data_that_is_given_overrules_the_card(tmp_path: Path) -> None:
    _, data = parquet_model(tmp_path)
    network = tiny_network()
    network.card = {"data": {"name": "nowhere"}}
    told = {**data, "preprocessing": {"mean": [0.5], "std": [0.25]}}
    assert assess(network, told, "test")["n"] == 12
    with pytest.raises(BadInput, match=r"give data\.preprocessing"):
        assess(network, data, "test")
    with pytest.raises(BadInput, match="unknown data set 'nowhere'"):
        assess(network, {"name": "nowhere", "preprocessing": "digits"}, "test")


def test_checkpoint_and_packed_folder_are_the_same_model(tmp_path: Path) -> None:
    checkpoint, data = parquet_model(tmp_path)
    model = TrainedModel.load(str(checkpoint), None, {})
    blueprint, _ = prepare(model, data, EvaluationSettings(), 0)
    pack_member(blueprint, Candidate(), tmp_path / "packed", {"data": data})
    tested = blueprint.build()(Request(Candidate(), test=True)).measures
    results = []
    for name in (checkpoint, tmp_path / "packed"):
        result = assess(load_model(str(name)), None, "test")
        results.append({k: v for k, v in result.items() if k != "images_per_second"})
    assert results[0] == results[1]
    assert results[0]["accuracy"] == pytest.approx(tested["accuracy_test"])
    assert tested["parent_accuracy_test"] == tested["accuracy_test"]


def test_a_network_of_the_zoo_by_its_name() -> None:
    loaded = load_model("spikformer-digits")
    assert loaded.card["accuracy_test"] == digits_network().card["accuracy_test"] > 0.95
    assert not loaded.training


def test_a_file_goes_before_a_name_of_the_zoo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_packed(tiny_network(), "spikformer-digits")
    assert load_model("spikformer-digits").classes == 3


def test_anything_else_is_refused_with_the_names_of_the_zoo(tmp_path: Path) -> None:
    for name in ("no-such-model", str(tmp_path)):
        with pytest.raises(BadInput, match=r"is no packed folder.*\(.*spikformer-digits.*\)"):
            load_model(name)


def test_what_shapes_cannot_tell_is_passed_on(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "foreign.safetensors"
    save_file(tiny_network(img_size_h=32, img_size_w=32).state_dict(), path)
    assert load_model(str(path), {"num_heads": 2, "T": 5}).time_steps == 5
    with pytest.raises(BadInput, match="give num_heads"):
        load_model(str(path))


def test_seconds_per_image_are_measured() -> None:
    assert 0 < seconds_per_image(tiny_network(), 2) < 10
