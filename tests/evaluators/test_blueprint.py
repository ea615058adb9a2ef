"""What an evaluator is made of: survives the way to a worker, and is identified by its content."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluated_models import chosen, image_data, tiny_network, with_settings
from numpy.typing import NDArray

from spikefront.evaluators.blueprint import Blueprint
from spikefront.evaluators.data import Preprocessing, Splits
from spikefront.evaluators.evaluation import Evaluation, Gate, Request
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.spaces import BadInput, SurgeryOptions
from spikefront.svtmodels.costs import parent_bytes
from spikefront.svtmodels.network import Network
from spikefront.svtmodels.surgery.activity import Activity

GREY = Preprocessing((0.5,), (0.25,))
SETTINGS = EvaluationSettings(batch_size=8, gate_images=6)


def noise_splits(network: Network, n_test: int = 9) -> Splits:
    parts = [image_data(n, network, seed) for seed, n in enumerate((0, 10, 30, n_test))]
    return Splits(*parts, declared="noise")


@cache
def tiny_blueprint() -> Blueprint:
    network = tiny_network()
    return Blueprint.prepare(network, noise_splits(network), GREY, SETTINGS)


def requests(blueprint: Blueprint) -> list[Request]:
    network = blueprint.network()
    return [
        Request(chosen(network)),
        Request(chosen(network, channel=0.5, weight=4, token=0.5, time=2)),
        Request(chosen(network, weight=2), Gate(1, max_drift=1e-3)),
        Request(chosen(network, channel=0.75), test=True),
    ]


def evaluations(blueprint: Blueprint) -> list[Evaluation]:
    judge = blueprint.build()
    return [replace(judge(request), timing={}) for request in requests(blueprint)]


def read_only(data: bytes, buffers: list[pickle.PickleBuffer]) -> Blueprint:
    """Unpickle over immutable memory, as an object store hands it out."""
    return pickle.loads(data, buffers=[bytes(buffer.raw()) for buffer in buffers])


def test_a_pickled_blueprint_gives_the_same_evaluations() -> None:
    blueprint = tiny_blueprint()
    copy = pickle.loads(pickle.dumps(blueprint))
    assert evaluations(copy) == evaluations(blueprint)
    assert copy.fingerprints() == blueprint.fingerprints()
    assert copy.parent(0.5) == blueprint.parent(0.5)


def test_arrays_of_an_object_store_are_read_only_and_nothing_writes_or_warns() -> None:
    blueprint = tiny_blueprint()
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(blueprint, protocol=5, buffer_callback=buffers.append)
    copy = read_only(data, buffers)
    assert not any(array.flags.writeable for array in copy.state.values() if array.ndim)
    trace = copy.traces["block.0.attn.q_lif"]
    assert not trace.potential.flags.writeable
    assert not trace.channel.flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluations(copy) == evaluations(blueprint)
    assert len(data) < 64 * 1024  # Everything large travels out of band.


@pytest.mark.parametrize("channels", ["surgeon", "variance", "taylor"])
def test_a_blueprint_carries_what_its_criterion_asks_for(channels: str) -> None:
    network = tiny_network()
    surgery = SurgeryOptions(channels=channels, compensation="mean")
    settings = replace(SETTINGS, surgery=surgery)
    blueprint = Blueprint.prepare(network, noise_splits(network), GREY, settings)
    activity = blueprint.activity
    assert bool(activity.losses) == (channels == "surgeon")
    assert bool(activity.variances) == (channels == "variance")
    assert bool(activity.taylor) == (channels == "taylor")
    assert "block.0.mlp.fc2" in activity.inputs
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(blueprint, protocol=5, buffer_callback=buffers.append)
    copy = read_only(data, buffers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluations(copy) == evaluations(blueprint)
    assert copy.fingerprints() == blueprint.fingerprints()


def test_arrays_that_are_frozen_in_place_work_too() -> None:
    blueprint = pickle.loads(pickle.dumps(tiny_blueprint()))
    for array in (*blueprint.state.values(), blueprint.search_correct):
        array.setflags(write=False)
    assert evaluations(blueprint) == evaluations(tiny_blueprint())


def test_a_rebuilt_network_is_the_trained_one_without_a_copy() -> None:
    blueprint = tiny_blueprint()
    network = blueprint.network()
    assert not network.training
    for name, tensor in network.state_dict().items():
        assert np.shares_memory(tensor.numpy(), blueprint.state[name]), name


def test_the_gate_sees_the_first_calibration_images() -> None:
    network = tiny_network()
    splits = noise_splits(network)
    blueprint = tiny_blueprint()
    assert len(blueprint.calibration) == 6
    np.testing.assert_array_equal(blueprint.calibration.images, splits.calibration.images[:6])
    images = np.unique(blueprint.traces["patch_embed.proj_lif"].image)
    assert images.tolist() == list(range(6))
    more = Blueprint.prepare(network, splits, GREY, replace(SETTINGS, gate_images=500))
    assert len(more.calibration) == len(splits.calibration)


@pytest.mark.parametrize(("count", "rows"), [(4, range(6, 10)), (0, range(0)), (99, range(10))])
def test_recovery_takes_the_last_calibration_images(count: int, rows: range) -> None:
    """Others than the gate's, where there are enough of them."""
    network = tiny_network()
    splits = noise_splits(network)
    settings = replace(SETTINGS, surgery=SurgeryOptions(recovery_images=count))
    blueprint = Blueprint.prepare(network, splits, GREY, settings)
    assert np.array_equal(blueprint.recovery.images, splits.calibration.images[list(rows)])


def test_the_seed_orders_the_search_images() -> None:
    network = tiny_network()
    splits = noise_splits(network)
    first, again, other = (
        Blueprint.prepare(network, splits, GREY, SETTINGS, seed) for seed in (0, 0, 1)
    )
    assert first.fingerprints() == again.fingerprints()
    assert first.fingerprints()["search"] != other.fingerprints()["search"]
    assert sorted(first.search.image_hashes()) == sorted(other.search.image_hashes())
    assert first.search_correct.mean() == other.search_correct.mean()


def nudged_losses(blueprint: Blueprint) -> dict[str, NDArray[np.float32]]:
    losses = {name: losses.copy() for name, losses in blueprint.activity.losses.items()}
    losses["block.1.attn.qk"][0, 0, 0] = np.nextafter(losses["block.1.attn.qk"][0, 0, 0], 9)
    return losses


def changed(blueprint: Blueprint) -> dict[str, Blueprint]:
    """Blueprints in which one thing differs, by the fingerprint that must tell."""
    name = "block.1.mlp.fc2_linear.weight"
    weight = blueprint.state[name].copy()
    weight[0, 0] = np.nextafter(weight[0, 0], np.float32(9))
    images = blueprint.search.images.copy()
    images[-1, 0, 0, 0] ^= 1
    fewer = blueprint.test.take(range(5))
    return {
        "weights": replace(blueprint, state={**blueprint.state, name: weight}),
        "search": replace(blueprint, search=replace(blueprint.search, images=images)),
        "recovery": replace(blueprint, recovery=blueprint.recovery.take(range(5))),
        "calibration": replace(blueprint, calibration=blueprint.calibration.take(range(5))),
        "test": replace(blueprint, test=fewer),
        "preprocessing": replace(blueprint, preprocessing=Preprocessing((0.5,), (0.26,))),
        "network": replace(blueprint, arguments={**blueprint.arguments, "T": 4}),
        "activity": replace(blueprint, activity=Activity(losses=nudged_losses(blueprint))),
    }


PARTS = ("weights", "search", "calibration", "recovery", "test", "preprocessing", "activity")

SETTING_CHANGES: list[dict[str, Any]] = [
    {"batch_size": 9},
    {"gate_images": 7},
    {"alpha": 0.1},
    {"max_drop": 0.02},
    {"max_bytes": 1000},
    {"max_energy_mj": 1.0},
    {"max_synops": 1.0},
    {"max_macs": 1000},
]


@pytest.mark.parametrize("part", PARTS)
def test_each_fingerprint_tells_its_own_change(part: str) -> None:
    before = tiny_blueprint().fingerprints()
    after = changed(tiny_blueprint())[part].fingerprints()
    assert {name for name in before if before[name] != after[name]} == {part}


def test_other_constructor_arguments_tell() -> None:
    before = tiny_blueprint().fingerprints()
    after = changed(tiny_blueprint())["network"].fingerprints()
    assert {name for name in before if before[name] != after[name]} == {"network"}


@pytest.mark.parametrize("change", SETTING_CHANGES, ids=lambda change: next(iter(change)))
def test_every_setting_is_part_of_the_fingerprint(change: dict[str, Any]) -> None:
    before = tiny_blueprint().fingerprints()
    after = with_settings(tiny_blueprint(), **change).fingerprints()
    assert {name for name in before if before[name] != after[name]} == {"settings"}


def test_labels_and_names_of_weights_are_part_of_the_fingerprint() -> None:
    blueprint = tiny_blueprint()
    before = blueprint.fingerprints()
    labels = (blueprint.search.labels + 1) % 3
    relabelled = replace(blueprint, search=replace(blueprint.search, labels=labels))
    assert relabelled.fingerprints()["search"] != before["search"]
    swapped = dict(blueprint.state)
    q, k = (f"block.0.attn.{part}_linear.weight" for part in "qk")
    swapped[q], swapped[k] = swapped[k], swapped[q]
    assert replace(blueprint, state=swapped).fingerprints()["weights"] != before["weights"]


def test_fingerprints_are_the_same_in_another_process(tmp_path: Path) -> None:
    blueprint = tiny_blueprint()
    path = tmp_path / "blueprint.pickle"
    path.write_bytes(pickle.dumps(blueprint))
    program = (
        "import pickle, pathlib, sys; "
        "print(pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()).fingerprints())"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
    )
    assert result.stdout.strip() == str(blueprint.fingerprints())


def test_what_is_known_of_the_parent() -> None:
    blueprint = tiny_blueprint()
    network = blueprint.network()
    parent = blueprint.parent(0.75)
    assert parent["architecture"] == "spikformer_cifar10"
    assert parent["arguments"] == dict(network.arguments)
    assert (parent["time_steps"], parent["n_search"], parent["n_test"]) == (3, 30, 9)
    assert parent["bytes"] == parent_bytes(network)
    assert parent["accuracy_search"] == pytest.approx(blueprint.search_correct.mean())
    assert parent["accuracy_test"] == 0.75
    assert parent["energy_preset"] == {"name": "45nm", "mac_pj": 4.6, "ac_pj": 0.9}
    assert "4.6 pJ" in parent["energy_formula"]
    assert len(parent["sites"]) == len(network.sites)
    assert parent["sites"][0] == {
        "kind": "channel",
        "name": "patch_embed.proj_conv.out",
        "size": 2,
        "block": "patch_embed",
        "stage": "patch_embed",
    }
    identity = blueprint.build()(Request(chosen(network))).measures
    for name in ("parameters", "macs", "synops", "energy_mj"):
        assert parent[name] == identity[name]


def test_a_parent_without_test_images_has_no_test_accuracy() -> None:
    network = tiny_network()
    blueprint = Blueprint.prepare(network, noise_splits(network, n_test=0), GREY, SETTINGS)
    assert blueprint.parent(None)["accuracy_test"] is None
    assert blueprint.parent(None)["n_test"] == 0


def test_an_unknown_energy_preset_is_refused_before_any_work() -> None:
    network = tiny_network()
    with pytest.raises(BadInput, match="unknown energy preset '45mm'"):
        Blueprint.prepare(
            network, noise_splits(network), GREY, EvaluationSettings(energy_preset="45mm")
        )
