"""Trainings that are interrupted, averaged, rounded, and started from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from data_files import png, write_parquet
from evaluated_models import TINY, image_data, tiny_network

from spikefront.evaluators.accuracy import accuracy
from spikefront.evaluators.data import Preprocessing, load_digits, load_splits
from spikefront.evaluators.training import Progress, Recipe, train
from spikefront.evaluators.training.job import TrainingJob
from spikefront.spaces import BadInput, CorruptFile, RunFailed
from spikefront.svtmodels import build_official
from spikefront.svtmodels.checkpoint import load_checkpoint
from spikefront.svtmodels.transfer import with_classes

GREY = Preprocessing((0.5,), (0.25,))
# Everything that draws random numbers or keeps state between steps.
RECIPE = {
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 0.003,
    "warmup_epochs": 0.5,
    "crop_padding": 1,
    "mixup": 0.4,
    "policy_operations": 1,
    "averaging": 0.8,
}


class Killed(Exception):
    """Stands for a power cut after an epoch."""


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    digits = load_digits(16)
    data: dict[str, Any] = {"name": "parquet", "calibration": 10, "search": 30, "channels": 1}
    for part, rows in {"train": slice(0, 140), "test": slice(300, 340)}.items():
        encoded = [png(image) for image in digits.images[rows]]
        labels = digits.labels[rows].tolist()
        file = write_parquet(
            tmp_path / f"{part}.parquet", encoded, labels, classes=list(digits.classes)
        )
        data[part] = str(file)
    arguments = {"embed_dims": 16, "num_heads": 2, "depths": 1, "mlp_ratios": 2, "T": 2}
    return {
        "network": {"architecture": "spikformer_cifar10", "arguments": arguments},
        "data": data,
        "recipe": RECIPE,
        "seed": 3,
        "output": str(tmp_path / "out.safetensors"),
    }


def run(config: dict[str, Any], stop_after: int | None = None) -> dict[str, Any]:
    def report(progress: Progress) -> None:
        seen.append(progress)
        if progress.epoch == stop_after:
            raise Killed

    seen: list[Progress] = []
    card = TrainingJob.from_dict(config).run(report)
    assert [progress.epoch for progress in seen] == list(range(1, len(seen) + 1))
    return card


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    config: dict[str, Any], tmp_path: Path, stop_after: int
) -> None:
    whole = run(config)
    expected = load_checkpoint(config["output"]).state_dict()
    again = {**config, "output": str(tmp_path / "again.safetensors")}
    with pytest.raises(Killed):
        run(again, stop_after)
    state = TrainingJob.from_dict(again).state_file
    assert state.is_file()
    assert not Path(again["output"]).exists()
    torch.manual_seed(99)  # What other work left behind does not matter.
    assert run(again)["curve"] == whole["curve"]
    got = load_checkpoint(again["output"]).state_dict()
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())
    assert not state.exists()


def test_the_state_of_another_training_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(Killed):
        run(config, 1)
    for change in ({"seed": 4}, {"recipe": {**RECIPE, "epochs": 9}}):
        with pytest.raises(BadInput, match="state of a training with another config"):
            run({**config, **change})
    assert TrainingJob.from_dict(config).state_file.is_file()


def test_a_damaged_state_is_named(config: dict[str, Any]) -> None:
    with pytest.raises(Killed):
        run(config, 1)
    file = TrainingJob.from_dict(config).state_file
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"no archive"):
        file.write_bytes(damaged)
        with pytest.raises(CorruptFile, match=r"out.state.pt.*delete it to start anew"):
            run(config)


def test_the_average_of_the_weights_is_kept() -> None:
    data = image_data(32, tiny_network())
    recipe = Recipe.from_dict({**RECIPE, "epochs": 1, "policy_operations": 0, "batch_size": 8})
    seen: list[torch.Tensor] = []
    network = tiny_network()
    weight = network.get_submodule("head").get_parameter("weight")
    # The state before every step but the first, and the last one from a run without averaging.
    handle = network.register_forward_pre_hook(
        lambda module, _: seen.append(weight.detach().clone()) if module.training else None
    )
    train(network, data, data.take(()), GREY, recipe)
    handle.remove()
    last = tiny_network()
    train(last, data, data.take(()), GREY, Recipe.from_dict({**recipe.to_dict(), "averaging": 0.0}))
    steps = [*seen[1:], last.get_submodule("head").get_parameter("weight").detach()]
    average = steps[0]
    for step in steps[1:]:
        average = 0.8 * average + 0.2 * step
    assert len(steps) == 4
    torch.testing.assert_close(weight.detach(), average)
    assert not torch.allclose(weight.detach(), steps[-1])


def test_float16_weights_are_those_that_are_judged(config: dict[str, Any]) -> None:
    config["recipe"] = {**RECIPE, "epochs": 1}
    run(config)
    full = Path(config["output"]).stat().st_size
    card = run({**config, "weights": "float16"})
    assert Path(config["output"]).stat().st_size < 0.7 * full
    network = load_checkpoint(config["output"])
    splits = load_splits(config["data"])
    preprocessing = Preprocessing.from_dict(card["preprocessing"])
    assert card["weights"] == network.card["weights"] == "float16"
    assert card["accuracy_test"] == accuracy(network, splits.test, preprocessing)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor.half().float(), tensor)


def test_weights_beyond_float16_are_refused(config: dict[str, Any], monkeypatch: Any) -> None:
    from spikefront.evaluators.training import job

    def explode(training: Any, *_: Any, **__: Any) -> Any:
        training.network.get_submodule("head").get_parameter("weight").data.fill_(1e6)

    monkeypatch.setattr(job, "train_run", explode)
    with pytest.raises(RunFailed, match=r"head.weight exceeds 65504.*store the weights as float32"):
        run({**config, "weights": "float16"})
    assert not Path(config["output"]).exists()


def test_a_checkpoint_is_trained_on_with_a_new_classifier(config: dict[str, Any]) -> None:
    config["recipe"] = {**RECIPE, "epochs": 1}
    first = run(config)
    trained = load_checkpoint(config["output"]).state_dict()
    start = Path(config["output"])
    still = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-12}
    again = {
        **config,
        "network": {"checkpoint": str(start)},
        "recipe": still,
        "output": str(start.with_name("tuned.safetensors")),
    }
    card = run(again)
    # The normalisation of the trained network goes on.
    assert card["preprocessing"] == first["preprocessing"]
    assert card["started_from"] == "out.safetensors"
    tuned = load_checkpoint(again["output"]).state_dict()
    torch.testing.assert_close(tuned["head.weight"], trained["head.weight"])


@pytest.mark.parametrize(
    ("architecture", "arguments", "new"),
    [
        ("spikformer_cifar10", TINY, {"head.weight", "head.bias"}),
        (
            "sdt_v3_large",
            {
                "img_size_h": 32,
                "img_size_w": 32,
                "embed_dim": [16, 32, 64],
                "num_heads": 4,
                "num_classes": 3,
                "nb_classes": 3,
                "depths": 1,
                "kd": True,
            },
            {"head.weight", "head.bias", "head_kd.weight", "head_kd.bias"},
        ),
    ],
)
def test_everything_but_the_classifier_stays(
    architecture: str, arguments: dict[str, Any], new: set[str]
) -> None:
    network = build_official(architecture, arguments)
    assert with_classes(network, 3) is network
    other = with_classes(network, 7)
    assert other.classes == 7
    old, now = network.state_dict(), other.state_dict()
    unlike = {name for name, tensor in now.items() if tensor.shape != old[name].shape}
    assert unlike == new
    assert all(torch.equal(now[name], old[name]) for name in now.keys() - new)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"weights": "bfloat16"}, "unknown weights 'bfloat16'"),
        ({"network": {"architecture": "sdt_v1", "checkpoint": "x"}}, "give one of them"),
    ],
)
def test_wrong_choices_are_refused(
    config: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        TrainingJob.from_dict({**config, **change})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said(config: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="device is cuda, but torch finds no GPU here"):
        run({**config, "device": "cuda"})
