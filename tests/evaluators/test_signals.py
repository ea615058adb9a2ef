"""The signals of the gate's images, against a recomputation from every neuron of both networks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from evaluated_models import (
    GATE_IMAGES,
    chosen,
    digits_blueprint,
    digits_network,
    hooks,
    lively,
    noise,
    tiny_network,
    with_settings,
)
from spikingjelly.activation_based import neuron
from torch import Tensor

from spikefront.evaluators.drift import Comparer, collect_traces, traces_and_logits
from spikefront.evaluators.drop_model import LAYER, DropModel
from spikefront.evaluators.engines import COMPILED, PLAIN
from spikefront.evaluators.evaluation import PROBE, Request
from spikefront.evaluators.runner import Runner
from spikefront.evaluators.signals import ONE_BATCH, GateStage, gate_batch
from spikefront.evaluators.watched_run import watched_run
from spikefront.spaces import Candidate
from spikefront.svtmodels import build_official
from spikefront.svtmodels.network import Network
from spikefront.svtmodels.parts.integer_neuron import IntegerNeuron
from spikefront.svtmodels.surgery.compress import compress

IMAGES, ALL = 5, 10**9
PYRAMID: dict[str, Any] = {
    "img_size_h": 32,
    "img_size_w": 32,
    "num_classes": 3,
    "num_heads": 2,
    "mlp_ratios": 2,
    "embed_dim": [8, 8, 16, 16],
}
"""Spike-driven Transformer v3 of integer neurons."""


def spikes_of(network: Network, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Spikes [T, B, ..., C] of every layer by spikingjelly's own neuron, and the logits."""
    found: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        def see(module: Any, entering: tuple[Tensor, ...]) -> None:
            other = neuron.LIFNode(
                tau=module.tau, v_threshold=module.v_threshold, v_reset=0.0, step_mode="m"
            )
            found[name] = other(entering[0].clone())

        return network.get_submodule(name).register_forward_pre_hook(see)

    handles = [watch(layer.name) for layer in network.declaration.neurons]
    with torch.no_grad():
        logits = network(inputs)
    for handle in handles:
        handle.remove()
    return found, logits


def stage_of(parent: Network, inputs: Tensor, engine: str, samples: int = ALL) -> GateStage:
    traces, logits = traces_and_logits(
        parent, inputs, len(inputs), samples=samples, runner=Runner(parent, engine)
    )
    return GateStage(inputs, traces, logits.numpy(), 2)


@pytest.mark.parametrize("engine", [COMPILED, PLAIN])
@pytest.mark.parametrize("levels", [{"weight": 3}, {"weight": 4, "time": 2}], ids=str)
def test_flips_and_answers_are_those_of_the_whole_networks(
    levels: dict[str, float], engine: str
) -> None:
    parent = tiny_network()
    inputs = noise(IMAGES, parent)
    small = compress(parent, chosen(parent, **levels))
    got = stage_of(parent, inputs, engine)(Runner(small, engine)).measures
    (expected, before), (found, after) = spikes_of(parent, inputs), spikes_of(small, inputs)
    steps = small.time_steps
    flips = {
        name: float((spikes != expected[name][:steps]).double().mean())
        for name, spikes in found.items()
    }
    assert got["flips"] == pytest.approx(np.mean(list(flips.values())), rel=1e-3)
    assert got["flips_last"] == pytest.approx(flips["block.1.mlp.fc2_lif"], rel=1e-3)
    assert 0.01 < got["flips"] < 0.5
    p, q = before.double().softmax(1), after.double().softmax(1)
    divergence = float((p * (p / q).log()).sum(1).mean())
    assert got["kl"] == pytest.approx(divergence, rel=1e-4)
    assert got["kl"] > 0
    assert got["disagreement"] == float((p.argmax(1) != q.argmax(1)).double().mean())


def test_the_last_layer_is_the_last_to_run_and_means_are_over_layers() -> None:
    parent = tiny_network()
    inputs = noise(IMAGES, parent)
    got = stage_of(parent, inputs, PLAIN)(Runner(compress(parent, chosen(parent, weight=3)), PLAIN))
    assert got.measures["drift_last"] == got.layers["block.1.mlp.fc2_lif"]
    assert got.measures["drift"] == pytest.approx(np.mean(list(got.layers.values())))
    assert set(got.all) == {*got.measures, *(LAYER + name for name in got.layers)}


def test_the_trained_network_itself_gives_no_signal() -> None:
    judge = digits_blueprint().build()
    got = judge(Request(Candidate(), checks=PROBE))
    names = ("drift", "drift_last", "flips", "flips_last", "kl", "disagreement")
    assert [got.measures[name] for name in names] == [0.0] * 6
    assert set(got.layers) == {layer.name for layer in digits_network().declaration.neurons}
    assert set(got.layers.values()) == {0.0}


def test_neurons_that_are_gone_do_not_flip() -> None:
    # Pruned channels and tokens that are out: compared is what both networks have.
    parent = tiny_network()
    inputs = noise(IMAGES, parent)
    small = compress(parent, chosen(parent, channel=0.5, token=0.5))
    traces = collect_traces(parent, inputs, 5, samples=ALL)
    comparer = Comparer(small, traces)
    watched_run(Runner(small, PLAIN), inputs, 5, comparer)
    flips = comparer.flips()
    found, _ = spikes_of(small, inputs)
    reference, _ = spikes_of(parent, inputs)
    name = "patch_embed.proj_lif"  # No block before it: the same tokens in the same order.
    kept = small.kept_channels["patch_embed.proj_conv.out"]
    expected = (found[name] != reference[name][..., kept]).double().mean()
    assert flips[name] == pytest.approx(float(expected), rel=1e-3, abs=1e-9)
    assert set(flips) == set(comparer.drifts())
    assert all(0 <= share <= 1 for share in flips.values())


@pytest.mark.parametrize("engine", [COMPILED, PLAIN])
def test_integer_neurons_flip_when_their_level_differs(engine: str) -> None:
    torch.manual_seed(0)
    parent = lively(build_official("sdt_v3", PYRAMID))
    inputs = noise(2, parent)
    small = compress(parent, chosen(parent, weight=3))
    traces, logits = traces_and_logits(parent, inputs, 2, samples=ALL)
    levels = {int(level) for trace in traces.values() for level in np.unique(trace.fired)}
    assert max(levels) > 1
    comparer = Comparer(small, traces)
    watched_run(Runner(small, engine), inputs, 2, comparer)
    layer = parent.declaration.neurons[0]
    found = []
    for network in (parent, small):
        module = network.get_submodule(layer.name)
        assert isinstance(module, IntegerNeuron)
        handle = module.register_forward_hook(lambda m, i, out: found.append(out * m.norm))
        with torch.no_grad():
            network(inputs)
        handle.remove()
    before, after = (each.round() for each in found)
    expected = float((before != after).double().mean())
    assert comparer.flips()[layer.name] == pytest.approx(expected, rel=1e-3)
    assert logits.shape == (2, parent.classes)


def test_a_candidates_own_threshold_decides_over_its_spikes() -> None:
    parent = tiny_network()
    inputs = noise(IMAGES, parent)
    small = compress(parent, Candidate())
    first = "patch_embed.proj_lif"
    module: Any = small.get_submodule(first)
    module.v_threshold = 1.5
    traces = collect_traces(parent, inputs, 5, samples=ALL)
    comparer = Comparer(small, traces)
    watched_run(Runner(small, PLAIN), inputs, 5, comparer)
    expected, _ = spikes_of(parent, inputs)
    found, _ = spikes_of(small, inputs)
    share = float((found[first] != expected[first]).double().mean())
    assert comparer.flips()[first] == pytest.approx(share)
    assert share > 0


def test_small_gates_are_one_batch_and_large_ones_are_not() -> None:
    assert gate_batch(128, 100) == 128
    assert gate_batch(ONE_BATCH, 100) == 256
    assert gate_batch(ONE_BATCH + 1, 100) == 100
    assert gate_batch(0, 100) == 1


def test_a_pass_of_several_batches_never_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikefront.evaluators.signals.ONE_BATCH", 4)
    parent = tiny_network()
    inputs = noise(IMAGES, parent)
    small = compress(parent, chosen(parent, weight=3))
    asked: list[float] = []

    def too_much(signals: Any) -> bool:
        asked.append(signals["drift"])
        return True

    got = stage_of(parent, inputs, PLAIN)(Runner(small, PLAIN), too_much)
    assert asked == []
    assert "kl" in got.measures


def test_what_is_known_early_is_a_lower_bound_that_grows() -> None:
    parent = tiny_network()
    inputs = noise(IMAGES, parent)
    small = compress(parent, chosen(parent, weight=3, channel=0.75))
    stage, seen = stage_of(parent, inputs, COMPILED), []
    whole = stage(Runner(small, COMPILED), lambda signals: bool(seen.append(dict(signals))))
    assert len(seen) == len(parent.declaration.neurons)
    model = DropModel((("drift", 1.0), ("flips", 0.3), (LAYER + "block.0.attn.q_lif", 2)), 0.1, 0)
    for name in ("drift", "flips"):
        values = [signals[name] for signals in seen]
        assert values == sorted(values)
        assert values[-1] == whole.measures[name]
    predictions = [model.predict(signals) for signals in seen]
    assert predictions == sorted(predictions)
    assert predictions[-1] == model.predict(whole.all)
    assert "kl" not in seen[-1]
    assert hooks(small) == 0


def test_a_model_predicts_by_hand_and_refuses_weights_below_zero() -> None:
    model = DropModel((("kl", 2.0), ("flips", 0.5), (LAYER + "a", 1.0)), 0.01, 0.02)
    assert model.predict({"kl": 0.1, "drift": 9.0}) == pytest.approx(0.21)
    assert model.predict({"kl": 0.1, "flips": 0.2, LAYER + "a": 0.5}) == pytest.approx(0.81)
    for wrong in (-0.1, math.nan):
        with pytest.raises(ValueError, match="kl"):
            DropModel((("kl", wrong),), 0.0, 0.0)


@pytest.mark.parametrize("engine", [COMPILED, PLAIN])
def test_signals_are_the_same_bits_in_every_evaluator(engine: str) -> None:
    blueprint = with_settings(digits_blueprint(), engine=engine)
    request = Request(chosen(digits_network(), weight=4), checks=PROBE)
    first, second = (
        replace(made.build()(request), timing={})
        for made in (blueprint, with_settings(blueprint, prefix_mib=0))
    )
    assert first == second
    assert first.image_evaluations == GATE_IMAGES
