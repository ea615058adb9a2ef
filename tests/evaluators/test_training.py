"""The training loop, and training jobs that leave checkpoints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import png, write_parquet
from evaluated_models import hooks, image_data, tiny_network

from spikefront.evaluators.accuracy import accuracy
from spikefront.evaluators.data import Preprocessing, held_out_digest, load_digits, load_splits
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.evaluators.preparation import TrainedModel, prepare
from spikefront.evaluators.training import Progress, Recipe, train
from spikefront.evaluators.training.job import TrainingJob
from spikefront.spaces import BadInput, RunFailed
from spikefront.svtmodels.checkpoint import load_checkpoint

GREY = Preprocessing((0.5,), (0.25,))
QUICK = {"epochs": 2, "batch_size": 8, "learning_rate": 0.003, "warmup_epochs": 0.5}
NETWORK = {
    "architecture": "spikformer_cifar10",
    "arguments": {"embed_dims": 64, "num_heads": 2, "depths": 1, "mlp_ratios": 2, "T": 2},
}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Config of a job that trains a tiny network on 220 digits of 16x16 pixels."""
    digits = load_digits(16)
    names = list(digits.classes)
    cuts = {"train": slice(0, 260), "test": slice(300, 340)}
    paths = {}
    for part, rows in cuts.items():
        encoded = [png(image) for image in digits.images[rows]]
        path = tmp_path / f"{part}.parquet"
        paths[part] = str(
            write_parquet(path, encoded, digits.labels[rows].tolist(), classes=names, group=100)
        )
    held_out = {"calibration": 10, "search": 30, "channels": 1}
    return {
        "network": NETWORK,
        "data": {"name": "parquet", **paths, **held_out},
        "recipe": {**QUICK, "crop_padding": 0},
        "seed": 3,
        "output": str(tmp_path / "out" / "digits.safetensors"),
    }


def weights(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    TrainingJob.from_dict(config).run()
    return load_checkpoint(config["output"]).state_dict()


def test_a_job_lowers_the_loss_and_leaves_a_checkpoint(config: dict[str, Any]) -> None:
    seen: list[Progress] = []
    card = TrainingJob.from_dict(config).run(seen.append)
    assert [progress.epoch for progress in seen] == [1, 2]
    assert seen[1].loss < 0.95 * seen[0].loss
    splits = load_splits(config["data"])
    network = load_checkpoint(config["output"])
    preprocessing = Preprocessing.measure(splits.train)
    stored = {name: network.card[name] for name in card}
    assert stored == card
    assert card["held_out"] == held_out_digest(splits)
    assert card["preprocessing"] == preprocessing.to_dict()
    assert card["data"] == config["data"]
    assert card["classes"] == list("0123456789")
    assert (card["seed"], card["n_test"]) == (3, 40)
    assert card["recipe"] == Recipe.from_dict(config["recipe"]).to_dict()
    assert card["curve"] == [[p.epoch, round(p.loss, 5), p.accuracy] for p in seen]
    # The accuracies are those of the weights in the file.
    assert card["accuracy_search"] == accuracy(network, splits.search, preprocessing)
    assert card["accuracy_test"] == accuracy(network, splits.test, preprocessing)
    # The network was built for the data: grey, 16x16, ten classes.
    assert (network.input_shape, network.classes, network.time_steps) == ((1, 16, 16), 10, 2)


def test_a_search_takes_the_checkpoint_with_its_data(config: dict[str, Any]) -> None:
    config["recipe"]["epochs"] = 1
    card = TrainingJob.from_dict(config).run()
    model = TrainedModel.load(config["output"], None, {})
    blueprint, notes = prepare(model, card["data"], EvaluationSettings(), 0)
    assert notes[1] == "The network was trained without the calibration and search images."
    assert blueprint.search_correct.mean() == pytest.approx(card["accuracy_search"])


def test_the_same_seed_gives_the_same_weights(config: dict[str, Any]) -> None:
    config["recipe"] |= {"epochs": 1, "crop_padding": 1, "flip": True}
    first = weights(config)
    torch.manual_seed(99)  # What happened before does not matter.
    second = weights(config)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = weights({**config, "seed": 4})
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_arguments_that_are_given_overrule_those_of_the_data(config: dict[str, Any]) -> None:
    config["network"] = {**NETWORK, "arguments": {**NETWORK["arguments"], "num_classes": 12}}
    config["recipe"]["epochs"] = 1
    TrainingJob.from_dict(config).run()
    assert load_checkpoint(config["output"]).classes == 12


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        ("digits", Preprocessing.preset("digits")),
        ({"mean": [0.1], "std": [0.2]}, Preprocessing((0.1,), (0.2,))),
    ],
)
def test_preprocessing_by_name_or_numbers(
    config: dict[str, Any], preprocessing: Any, expected: Preprocessing
) -> None:
    config["recipe"]["epochs"] = 1
    card = TrainingJob.from_dict({**config, "preprocessing": preprocessing}).run()
    assert card["preprocessing"] == expected.to_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sed": 1}, "unknown field of a training config 'sed'. Did you mean 'seed'?"),
        ({7: 1}, "unknown field of a training config '7'"),
        ({"network": {}}, "network.architecture is missing"),
        ({"network": {"architecture": 3}}, "network.architecture is missing"),
        ({"network": "spikformer_cifar10"}, "network is 'spikformer_cifar10'; give a mapping"),
        ({"network": {"argument": {}}}, "field of network 'argument'. Did you mean 'arguments'?"),
        ({"output": "digits.pth"}, "output is 'digits.pth'; give a path that ends in .safetensors"),
        ({"output": None}, "output is None; give a path"),
        ({"seed": "1"}, "seed is '1'; give a whole number"),
        ({"seed": True}, "seed is True; give a whole number"),
        ({"data": ["digits"]}, "data is ['digits']; give a mapping"),
        ({"preprocessing": 0.5}, "preprocessing is 0.5; give measure, a preset or {mean, std}"),
        ({"recipe": {"epoch": 3}}, "unknown recipe field 'epoch'. Did you mean 'epochs'?"),
    ],
)
def test_wrong_configs_say_what_to_do(change: dict[Any, Any], message: str) -> None:
    valid = {"network": NETWORK, "output": "x.safetensors"}
    with pytest.raises(BadInput) as caught:
        TrainingJob.from_dict({**valid, **change})
    assert message in str(caught.value)


def test_defaults_of_a_config() -> None:
    job = TrainingJob.from_dict({"network": NETWORK, "output": "x.safetensors"})
    assert (job.data, job.preprocessing, job.seed) == ({"name": "digits"}, None, 0)
    assert job.recipe == Recipe()
    assert job.output == Path("x.safetensors")


def test_what_only_shows_when_it_runs(config: dict[str, Any]) -> None:
    data = config["data"]
    foreign = {k: v for k, v in data.items() if k not in ("train", "test")}
    foreign["validation"] = data["train"]
    wrong = [
        ({"data": foreign}, "no training images; give `train`"),
        ({"preprocessing": "digit"}, "unknown preprocessing 'digit'"),
        ({"network": {"architecture": "spikformer"}}, "unknown architecture 'spikformer'"),
        ({"network": {**NETWORK, "arguments": {"embed_dim": 8}}}, "Did you mean 'embed_dims'"),
    ]
    for change, message in wrong:
        with pytest.raises(BadInput) as caught:
            TrainingJob.from_dict({**config, **change}).run()
        assert message in str(caught.value)
        assert not Path(config["output"]).exists()


def recipe(**changes: Any) -> Recipe:
    return Recipe.from_dict({**QUICK, "epochs": 1, **changes})


@pytest.mark.parametrize(("batch_size", "sizes"), [(16, [16, 16, 16]), (64, [50]), (50, [50])])
def test_an_epoch_is_a_number_of_whole_batches(batch_size: int, sizes: list[int]) -> None:
    network = tiny_network()
    data = image_data(50, network)
    seen: list[int] = []

    def watch(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if module.training:
            seen.append(len(inputs[0]))

    handle = network.register_forward_pre_hook(watch)
    train(network, data, data.take(()), GREY, recipe(batch_size=batch_size))
    handle.remove()
    assert seen == sizes
    assert hooks(network) == 0


def test_no_image_is_seen_twice_in_an_epoch() -> None:
    network = tiny_network()
    data = image_data(40, network)
    seen: list[torch.Tensor] = []
    handle = network.register_forward_pre_hook(
        lambda module, inputs: seen.extend(inputs[0]) if module.training else None
    )
    train(network, data, data.take(()), GREY, recipe(batch_size=8, crop_padding=0))
    handle.remove()
    images = np.stack([image.numpy() for image in seen])
    expected = GREY.apply(data.images).numpy()
    assert sorted(image.tobytes() for image in images) == sorted(e.tobytes() for e in expected)
    assert not np.array_equal(images, expected)  # in random order


def test_what_training_reports_and_how_it_ends() -> None:
    network = tiny_network()
    data, judged = image_data(32, network), image_data(9, network, seed=1)
    seen: list[Progress] = []
    chosen = recipe(epochs=3, learning_rate=0.004, final_learning_rate=0.001, warmup_epochs=0)
    result = train(network, data, judged, GREY, chosen, report=seen.append)
    assert result.curve == seen
    assert not network.training
    assert result.accuracy == seen[-1].accuracy == accuracy(network, judged, GREY)
    rates = [progress.learning_rate for progress in seen]
    assert rates == pytest.approx([0.00325, 0.00175, 0.001])
    assert all(progress.seconds > 0 for progress in seen)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_losses_are_means_over_the_images(smoothing: float) -> None:
    # A learning rate that changes nothing: every batch's loss is that of the start.
    network = tiny_network()
    data = image_data(32, network)
    still = recipe(learning_rate=1e-12, batch_size=32, crop_padding=0, label_smoothing=smoothing)
    network.train()
    with torch.no_grad():
        logs = network(GREY.apply(data.images)).log_softmax(1)
    of_label = logs[torch.arange(32), torch.from_numpy(data.labels.copy())]
    expected = -(1 - smoothing) * of_label.mean() - smoothing * logs.mean()
    result = train(network, data, data, GREY, still)
    assert result.curve[0].loss == pytest.approx(float(expected), rel=1e-4)


def test_the_seed_decides_on_order_and_augmentation() -> None:
    data = image_data(32, tiny_network())
    heads = []
    for seed in (0, 0, 1):
        network = tiny_network()
        train(network, data, data.take(()), GREY, recipe(), seed)
        heads.append(network.get_submodule("head").get_parameter("weight"))
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_only_matrices_decay() -> None:
    network = tiny_network()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    # Gradients are clipped to nothing: one step of nothing but decay is left.
    decay = {"weight_decay": 0.5, "learning_rate": 0.1, "clip_norm": 1e-30}
    data = image_data(32, network)
    train(network, data, data, GREY, recipe(**decay, warmup_epochs=0, batch_size=32))
    kept = {1: 1.0, 2: 0.95, 4: 0.95}
    for name, after in network.named_parameters():
        torch.testing.assert_close(after, kept[after.dim()] * before[name], msg=name)


def test_every_step_is_taken_at_its_own_learning_rate() -> None:
    # Decay alone, as above: each step scales a matrix by 1 - rate x decay.
    network = tiny_network()
    before = network.get_submodule("head").get_parameter("weight").detach().clone()
    chosen = recipe(
        epochs=2,
        batch_size=16,
        warmup_epochs=1,
        learning_rate=0.1,
        weight_decay=0.5,
        clip_norm=1e-30,
    )
    data = image_data(32, network)
    train(network, data, data, GREY, chosen)
    # Two steps per epoch: rates 0 and 0.05 while it warms up, then 0.1 and half way down.
    scale = (1 - 0.5 * 0.05) * (1 - 0.5 * 0.1) * (1 - 0.5 * (0.1 + 1e-5) / 2)
    after = network.get_submodule("head").get_parameter("weight")
    torch.testing.assert_close(after, scale * before)


def test_a_loss_that_is_not_finite_ends_it() -> None:
    network = tiny_network()
    data = image_data(16, network)
    with torch.no_grad():
        network.get_submodule("head").weight.fill_(math.inf)  # pyright: ignore
    with pytest.raises(RunFailed, match=r"no longer finite; lower recipe\.learning_rate"):
        train(network, data, data, GREY, recipe())


def test_a_failed_job_leaves_no_checkpoint(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> torch.Tensor:
        return torch.tensor(math.nan, requires_grad=True)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", broken)
    with pytest.raises(RunFailed):
        TrainingJob.from_dict(config).run()
    assert not Path(config["output"]).exists()
