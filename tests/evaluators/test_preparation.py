"""From names in a config to a blueprint, and what is refused on the way."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluated_models import lively, parquet_model, tiny_network, write_grey

from spikefront.evaluators.data import Preprocessing, load_splits
from spikefront.evaluators.evaluation import Request, State
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.evaluators.preparation import TrainedModel, prepare, preprocessing_of
from spikefront.spaces import MAGNITUDE, BadInput, Candidate, Granularity, SiteKind
from spikefront.svtmodels import build_official
from spikefront.svtmodels.checkpoint import read_card, save_checkpoint
from spikefront.svtmodels.costs import parent_bytes

SETTINGS = EvaluationSettings(batch_size=10, gate_images=8)


@pytest.fixture
def trained(tmp_path: Path) -> tuple[TrainedModel, dict[str, Any]]:
    """A tiny network with a full card, and its data."""
    path, data = parquet_model(tmp_path)
    return TrainedModel.load(str(path), None, {}), data


def with_card(folder: Path, **card: Any) -> TrainedModel:
    """The same network with another card."""
    path = folder / "other.safetensors"
    save_checkpoint(tiny_network(), path, card)
    return TrainedModel.load(str(path), None, {})


def test_a_model_of_our_own_training(trained: tuple[TrainedModel, dict[str, Any]]) -> None:
    model, data = trained
    blueprint, notes = prepare(model, data, SETTINGS, seed=0)
    splits = load_splits(data)
    assert notes == [
        splits.declared,
        "The network was trained without the calibration and search images.",
    ]
    assert blueprint.preprocessing == Preprocessing((0.5,), (0.25,))
    assert sorted(blueprint.search.image_hashes()) == sorted(splits.search.image_hashes())
    assert blueprint.test.digest == splits.test.digest
    assert blueprint.build()(Request(Candidate())).state is State.COMPLETE


def test_the_seed_reaches_the_order_of_the_images(
    trained: tuple[TrainedModel, dict[str, Any]],
) -> None:
    model, data = trained
    digests = [prepare(model, data, SETTINGS, seed)[0].search.digest for seed in (0, 1, 0)]
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize("change", [{"seed": 1}, {"search": 19}, {"calibration": 9}])
def test_other_held_out_images_than_those_of_the_training_are_refused(
    trained: tuple[TrainedModel, dict[str, Any]], change: dict[str, int]
) -> None:
    model, data = trained
    with pytest.raises(BadInput, match="it may have seen them") as caught:
        prepare(model, {**data, **change}, SETTINGS, 0)
    # The message names the settings that would work.
    assert str(model.network.card["data"]) in str(caught.value)


def test_a_card_without_held_out_images_is_a_note(
    trained: tuple[TrainedModel, dict[str, Any]], tmp_path: Path
) -> None:
    _, data = trained
    model = with_card(tmp_path, preprocessing={"mean": [0.5], "std": [0.25]})
    _, notes = prepare(model, data, SETTINGS, 0)
    assert "does not say what it was trained on" in notes[1]
    assert "may flatter" in notes[1]


def test_a_foreign_checkpoint_must_be_told_its_preprocessing(
    trained: tuple[TrainedModel, dict[str, Any]], tmp_path: Path
) -> None:
    _, data = trained
    foreign = with_card(tmp_path)
    with pytest.raises(BadInput, match=r"give data\.preprocessing, e\.g\. cifar10") as caught:
        prepare(foreign, data, SETTINGS, 0)
    assert "{mean: […], std: […]}" in str(caught.value)
    told = {**data, "preprocessing": {"mean": [0.1], "std": [0.2]}}
    assert prepare(foreign, told, SETTINGS, 0)[0].preprocessing == Preprocessing((0.1,), (0.2,))


def test_preprocessing_that_is_given_overrules_the_card(
    trained: tuple[TrainedModel, dict[str, Any]],
) -> None:
    network = trained[0].network
    assert preprocessing_of(network, None) == Preprocessing((0.5,), (0.25,))
    assert preprocessing_of(network, "digits") == Preprocessing.preset("digits")
    with pytest.raises(BadInput, match=r"unknown preprocessing 'digit'\. Did you mean 'digits'"):
        preprocessing_of(network, "digit")
    with pytest.raises(BadInput, match=r"data\.preprocessing is 3; give a preset"):
        preprocessing_of(network, 3)


def test_images_of_another_size_are_refused(
    trained: tuple[TrainedModel, dict[str, Any]],
) -> None:
    model, data = trained
    with pytest.raises(BadInput, match=r"images of shape \(1, 20, 20\).* takes \(1, 16, 16\)"):
        prepare(model, {**data, "size": 20}, SETTINGS, 0)


def test_data_with_other_classes_is_refused(
    trained: tuple[TrainedModel, dict[str, Any]], tmp_path: Path
) -> None:
    model, data = trained
    four = tiny_network(num_classes=4)
    files = {part: str(write_grey(tmp_path / f"{part}4.parquet", 40, four, 5)) for part in "ab"}
    shutil.copy(files["b"], tmp_path / "test4.parquet")
    other = {**data, "train": files["a"], "test": str(tmp_path / "test4.parquet")}
    with pytest.raises(BadInput, match="the data has 4 classes; the network has 3"):
        prepare(model, other, SETTINGS, 0)


def test_models_by_file_and_by_name(trained: tuple[TrainedModel, dict[str, Any]]) -> None:
    model, _ = trained
    assert model.name == "tiny"
    assert model.bytes == parent_bytes(model.network)
    zoo = TrainedModel.load(None, "spikformer-digits", {})
    assert (zoo.name, zoo.network.classes) == ("spikformer-digits", 10)
    with pytest.raises(BadInput, match="Did you mean 'spikformer-digits'"):
        TrainedModel.load(None, "spikformer-digit", {})
    with pytest.raises(BadInput, match=r"no checkpoint at nowhere\.safetensors"):
        TrainedModel.load("nowhere.safetensors", None, {})


def test_what_a_foreign_file_cannot_tell_is_passed_on(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    arguments = {"embed_dims": 16, "num_heads": 2, "depths": 1, "in_channels": 1}
    network = lively(build_official("spikformer_cifar10", arguments))
    path = tmp_path / "foreign.safetensors"
    save_file(network.state_dict(), path)
    assert read_card(path) == {}
    with pytest.raises(BadInput, match="give num_heads"):
        TrainedModel.load(str(path), None, {})
    model = TrainedModel.load(str(path), None, {"num_heads": 2, "T": 2})
    assert model.network.time_steps == 2


def test_spaces_from_coarse_to_fine(trained: tuple[TrainedModel, dict[str, Any]]) -> None:
    model, _ = trained
    spaces = model.spaces(Granularity.BLOCK, {SiteKind.WEIGHT: (2, 4)})
    assert [space.granularity for space in spaces] == ["network", "stage", "block"]
    assert [len(space.axes) for space in spaces] == [1, 3, 4]


def test_what_is_judged_by_magnitude_is_said() -> None:
    torch.manual_seed(0)
    arguments = {
        "img_size_h": 32,
        "img_size_w": 32,
        "in_channels": 1,
        "num_classes": 10,
        "embed_dim": [8, 16, 24, 32],
        "num_heads": 4,
    }
    model = TrainedModel("young", build_official("sdt_v3", arguments).eval())
    data = {"name": "digits", "preprocessing": "digits"}
    few = EvaluationSettings(batch_size=50, gate_images=8)
    _, notes = prepare(model, data, few, 0)
    (note,) = [text for text in notes if "judged by magnitude" in text]
    assert "dwconv" in note
    _, silent = prepare(model, data, replace(few, surgery=MAGNITUDE), 0)
    assert silent == notes[:2]


def test_searching_on_the_test_images_needs_no_check_of_what_was_held_out(
    trained: tuple[TrainedModel, dict[str, Any]],
) -> None:
    """Other settings of the data than those of its training: the search images are others."""
    model, data = trained
    blueprint, notes = prepare(model, {**data, "seed": 1}, SETTINGS, 0, paper_split=True)
    assert sorted(blueprint.search.image_hashes()) == sorted(blueprint.test.image_hashes())
    assert "Paper split" in notes[0]
    assert not any("left out" in note and "was trained" in note for note in notes)
