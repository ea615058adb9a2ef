"""Our networks compute what the official code computed, from the official weights."""

from __future__ import annotations

import pytest
import torch
from golden_rule import COMPLETE, Golden, checksum, goldens, kind_of
from safetensors.torch import load_file
from torch import Tensor

from spikefront.svtmodels import Network, build_official

GOLDENS = goldens()
each_golden = pytest.mark.parametrize("golden", GOLDENS, ids=[g.folder.name for g in GOLDENS])

FLOAT64 = 1e-9
FLOAT32 = {"spikformer_cifar10": 1e-5}
FLOAT32_OTHERS = 3e-5
FIRING_INTO_NOTHING = {"sdt_v3_large": {"lif"}}
"""Neurons that the official code runs for a head that the network does not have."""


def test_spikformer_is_among_the_fixtures():
    names = {golden.config["architecture"] for golden in GOLDENS}
    assert {"spikformer_cifar10", "spikformer_imagenet", "spikformer_cifar10dvs"} <= names


@each_golden
def test_rule_makes_the_official_weights(golden: Golden):
    shapes = {key: tuple(entry["shape"]) for key, entry in golden.keys.items()}
    state = golden.state()
    assert {key: kind_of(key, shapes) for key in shapes} == {
        key: entry["kind"] for key, entry in golden.keys.items()
    }
    assert {key: checksum(value) for key, value in state.items()} == {
        key: entry["sha256_16"] for key, entry in golden.keys.items()
    }


@each_golden
def test_state_dict_is_the_official_one(golden: Golden):
    network = build_official(golden.config["architecture"], golden.config["constructor_args"])
    state = network.state_dict()
    assert {key: (list(t.shape), str(t.dtype)) for key, t in state.items()} == {
        key: (entry["shape"], f"torch.{entry['dtype']}") for key, entry in golden.keys.items()
    }
    assert sum(p.numel() for p in network.parameters()) == golden.config["n_parameters"]


@each_golden
def test_logits_agree_in_float64(golden: Golden):
    logits = _official_layout(golden, golden.network(), golden.input().double())
    reference = "output_single_f64" if golden.leaks else "output_f64"
    assert _distance(logits, golden.outputs[reference]) <= FLOAT64


@pytest.mark.parametrize(
    "golden", [g for g in GOLDENS if g.leaks], ids=[g.folder.name for g in GOLDENS if g.leaks]
)
def test_leaking_logits_agree_in_float64(golden: Golden):
    network = golden.network(**golden.published)
    logits = _official_layout(golden, network, golden.input().double())
    assert _distance(logits, golden.outputs["output_f64"]) <= FLOAT64


@each_golden
def test_logits_agree_in_float32(golden: Golden):
    logits = _official_layout(golden, golden.network(torch.float32), golden.input())
    reference = "output_single_f64" if golden.leaks else "output_f32"
    allowed = FLOAT32.get(golden.folder.name, FLOAT32_OTHERS)
    assert _distance(logits, golden.outputs[reference]) <= allowed


@each_golden
def test_an_image_does_not_see_its_batch(golden: Golden):
    network, images = golden.network(), golden.input().double()
    alone = [_official_layout(golden, network, image[None]) for image in images]
    reference = golden.outputs["output_single_f64"]
    assert _distance(torch.cat(alone, dim=reference.dim() - 2), reference) <= FLOAT64


@each_golden
def test_logits_are_the_mean_over_steps(golden: Golden):
    network, images = golden.network(), golden.input().double()
    with torch.no_grad():
        steps, logits = network.per_step(images), network(images)
    assert steps.shape[::2] == logits.shape
    assert _distance(steps.mean(1), logits) <= FLOAT64


@each_golden
def test_firing_rates_agree_for_every_neuron_layer(golden: Golden):
    network = golden.network(**golden.published)
    names = [layer.name for layer in network.declaration.neurons]
    outputs = _outputs(network, names, golden.input().double())
    rates = {name: float(spikes.mean()) for name, spikes in outputs.items()}
    unused = set(golden.config["unused_neurons"]) | FIRING_INTO_NOTHING.get(
        golden.folder.name, set()
    )
    assert set(rates) == set(golden.rates) - unused
    assert rates == pytest.approx({name: golden.rates[name] for name in rates}, abs=FLOAT64)


@each_golden
def test_activations_agree(golden: Golden):
    folder = COMPLETE / golden.folder.name
    if not (folder / "activations.safetensors").is_file():
        pytest.skip(f"no complete golden folder at {folder}")
    expected = load_file(folder / "activations.safetensors")
    network = golden.network(**golden.published)
    outputs = _outputs(network, list(expected), golden.input().double())
    for name, official in expected.items():
        want = _channel_last(official, golden.config["architecture"]).double()
        got = outputs[name].reshape(want.shape)
        # Stored as float32, or as integers where all values are integers.
        assert _distance(got, want) <= 1e-6 * float(want.abs().max()), name


def _official_layout(golden: Golden, network: Network, images: Tensor) -> Tensor:
    """Logits as the official code returns them: [B, K], or [T, B, K]."""
    with torch.no_grad():
        if golden.outputs["output_f64"].dim() == 3:
            return network.per_step(images).transpose(0, 1)
        return network(images)


def _outputs(network: Network, names: list[str], images: Tensor) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: outputs.update({name: output})
        )
    with torch.no_grad():
        network(images)
    return outputs


def _channel_last(official: Tensor, architecture: str) -> Tensor:
    """Official activation as [T, B, N, C]; only Spikformer's CIFAR file has it like that."""
    if architecture == "spikformer_cifar10":
        return official
    if architecture == "sdt_v3" or official.dim() == 3:  # No axis for time.
        official = official[None]
    return official.flatten(3).transpose(2, 3)


def _distance(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a.double() - b.double()).abs().max())
