"""Membrane drift against a recomputation from full traces by spikingjelly's neuron."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from evaluated_models import (
    chosen,
    digits_network,
    few_digits,
    hooks,
    noise,
    tiny_network,
)
from spikingjelly.activation_based import neuron
from torch import Tensor

from spikefront.evaluators.data import Preprocessing
from spikefront.evaluators.drift import (
    SAMPLES_PER_LAYER,
    LayerTrace,
    collect_traces,
    layer_drifts,
    mean_drift,
)
from spikefront.spaces import BadInput, Candidate
from spikefront.svtmodels.network import Network
from spikefront.svtmodels.surgery.compress import compress

ALL = 10**9
IMAGES = 5

CANDIDATES = {
    "channels": {"channel": 0.5},
    "tokens": {"token": 0.6},
    "steps": {"time": 2, "token": 0.6},
    "bits": {"weight": 4},
    "everything": {"channel": 0.75, "token": 0.5, "time": 1, "weight": 3},
}


def channel_group(layer: str) -> str | None:
    """Group that the channels of a neuron layer follow, written down once more by hand."""
    stem = {"proj_lif": "proj_conv", "proj_lif1": "proj_conv1", "proj_lif2": "proj_conv2"}
    encoder = {
        "q_lif": "attn.qk",
        "k_lif": "attn.qk",
        "v_lif": "attn.v",
        "attn_lif": "attn.v",
        "fc1_lif": "mlp.hidden",
    }
    *path, name = layer.split(".")
    if path[0] == "patch_embed":
        return f"patch_embed.{stem[name]}.out" if name in stem else None
    return f"block.{path[1]}.{encoder[name]}" if name in encoder else None


def before_reset(currents: Tensor, tau: float, threshold: float) -> Tensor:
    """Membrane potential before reset, [T, ...], step by step with spikingjelly's neuron."""
    firing = neuron.LIFNode(tau=tau, v_threshold=threshold, v_reset=0.0)
    charging = neuron.LIFNode(tau=tau, v_threshold=1e9, v_reset=0.0)
    potentials = []
    for current in currents:
        charging.v = firing.v
        charging(current)
        assert isinstance(charging.v, Tensor)
        potentials.append(charging.v.clone())
        firing(current)
    return torch.stack(potentials)


@torch.no_grad()
def full_traces(network: Network, inputs: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Potentials [T, B, P, C] of every neuron layer, and kept tokens [B, k] of every block."""
    potentials: dict[str, Tensor] = {}
    kept: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        def neurons(module: Any, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0]
            flat = x.reshape(*x.shape[:2], -1, x.shape[-1])
            potentials[name] = before_reset(flat, module.tau, module.v_threshold)

        def tokens(module: Any, inputs: Any, output: Tensor) -> None:
            kept[name.removesuffix(".selector")] = output

        module = network.get_submodule(name)
        if name.endswith("selector"):
            return module.register_forward_hook(tokens)
        return module.register_forward_pre_hook(neurons)

    names = [n for n, _ in network.named_modules() if n.endswith(("lif", "lif1", "lif2", "lif3"))]
    names += [n for n, m in network.named_modules() if n.endswith("selector") and m is not None]
    handles = [watch(name) for name in names]
    network(inputs)
    for handle in handles:
        handle.remove()
    return potentials, kept


def expected_drifts(parent: Network, small: Network, inputs: Tensor) -> dict[str, float]:
    """Relative L1 change of every layer, over every neuron that both networks have."""
    reference, _ = full_traces(parent, inputs)
    potentials, tokens = full_traces(small, inputs)
    drifts = {}
    for layer, own in potentials.items():
        other = reference[layer][: own.shape[0]]
        block = ".".join(layer.split(".")[:2])
        if block in tokens:
            other = torch.stack([other[:, b, kept] for b, kept in enumerate(tokens[block])], 1)
        group = channel_group(layer)
        if group in small.kept_channels:
            other = other[..., small.kept_channels[group]]
        change = (own - other).double().abs().sum() / other.double().abs().sum()
        drifts[layer] = float(change)
    return drifts


@pytest.mark.parametrize("levels", CANDIDATES.values(), ids=CANDIDATES.keys())
def test_agrees_with_full_traces(levels: dict[str, float]) -> None:
    parent = tiny_network()
    inputs = noise(IMAGES, parent)
    small = compress(parent, chosen(parent, **levels))
    traces = collect_traces(parent, inputs, 2, samples=ALL)
    drifts = layer_drifts(small, traces, inputs, 3)
    expected = expected_drifts(parent, small, inputs)
    assert len(drifts) == 19
    assert drifts == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert max(drifts.values()) > 0.05


def test_the_trained_network_itself_does_not_drift_at_all() -> None:
    parent = tiny_network()
    inputs = noise(IMAGES, parent)
    traces = collect_traces(parent, inputs, 2)
    drifts = layer_drifts(compress(parent, Candidate()), traces, inputs, 2)
    assert set(drifts) == {layer.name for layer in parent.declaration.neurons}
    assert set(drifts.values()) == {0.0}
    assert mean_drift(drifts) == 0.0


def test_a_quantised_classifier_alone_does_not_drift() -> None:
    parent = tiny_network()
    inputs = noise(IMAGES, parent)
    small = compress(parent, Candidate((("weight", "head", 2),)))
    drifts = layer_drifts(small, collect_traces(parent, inputs, 5), inputs, 5)
    assert set(drifts.values()) == {0.0}


def test_fewer_steps_alone_do_not_drift_while_tokens_stay() -> None:
    # Neurons are causal: the first T' steps do not know how many follow.
    parent = tiny_network()
    inputs = noise(IMAGES, parent)
    small = compress(parent, chosen(parent, time=1))
    drifts = layer_drifts(small, collect_traces(parent, inputs, 5), inputs, 5)
    assert mean_drift(drifts) == pytest.approx(0.0, abs=1e-6)


def test_a_sampled_trace_is_the_full_trace_at_the_sampled_neurons() -> None:
    parent = tiny_network()
    inputs = noise(IMAGES, parent)
    full, _ = full_traces(parent, inputs)
    traces = collect_traces(parent, inputs, 2, samples=40)
    assert set(traces) == set(full)
    for layer, trace in traces.items():
        picked = full[layer][:, trace.image, trace.position, trace.channel].numpy()
        np.testing.assert_allclose(trace.potential, picked, rtol=1e-5, atol=1e-6)


def test_traces_are_bounded_and_no_neuron_is_sampled_twice() -> None:
    network, images = digits_network(), few_digits().calibration.images[:4]
    inputs = Preprocessing.preset("digits").apply(images)
    traces = collect_traces(network, inputs, 4)
    sizes = {layer: len(trace.image) for layer, trace in traces.items()}
    assert SAMPLES_PER_LAYER == 4096
    assert sizes["patch_embed.proj_lif"] == 4096  # of 4 x 1,024 x 8
    assert set(sizes.values()) == {4096}
    for trace in traces.values():
        assert trace.potential.shape == (network.time_steps, 4096)
        places = np.stack([trace.image, trace.position, trace.channel], 1)
        assert len(np.unique(places, axis=0)) == 4096
        assert set(trace.image.tolist()) == {0, 1, 2, 3}


def test_layers_smaller_than_the_bound_are_kept_whole() -> None:
    parent = tiny_network()
    traces = collect_traces(parent, noise(2, parent), 2, samples=600)
    assert len(traces["block.0.attn.q_lif"].image) == 2 * 16 * 16
    assert len(traces["patch_embed.proj_lif3"].image) == 600


def test_a_sample_estimates_the_drift_of_all_neurons() -> None:
    parent = tiny_network()
    inputs = noise(IMAGES, parent)
    small = compress(parent, chosen(parent, weight=3, channel=0.75))
    every, sampled = (
        mean_drift(layer_drifts(small, collect_traces(parent, inputs, 5, 0, n), inputs, 5))
        for n in (ALL, 300)
    )
    assert sampled == pytest.approx(every, rel=0.1)
    assert sampled != every


def test_batches_change_nothing() -> None:
    parent = tiny_network()
    inputs = noise(7, parent)
    small = compress(parent, chosen(parent, weight=4, channel=0.75, token=0.5))
    whole = collect_traces(parent, inputs, 7, samples=200)
    drifts = layer_drifts(small, whole, inputs, 7)
    for batch_size in (1, 3, 100):
        traces = collect_traces(parent, inputs, batch_size, samples=200)
        for layer, trace in traces.items():
            for name in ("image", "position", "channel"):
                np.testing.assert_array_equal(getattr(trace, name), getattr(whole[layer], name))
            np.testing.assert_allclose(trace.potential, whole[layer].potential, atol=1e-6)
        again = layer_drifts(small, traces, inputs, batch_size)
        assert again == pytest.approx(drifts, abs=1e-6)


def test_the_sample_follows_the_seed() -> None:
    parent = tiny_network()
    inputs = noise(IMAGES, parent)
    first, again, other = (collect_traces(parent, inputs, 5, seed, 50) for seed in (3, 3, 4))
    layer = "patch_embed.proj_lif1"
    np.testing.assert_array_equal(first[layer].potential, again[layer].potential)
    np.testing.assert_array_equal(first[layer].position, again[layer].position)
    assert not np.array_equal(first[layer].position, other[layer].position)


def test_a_layer_with_nothing_left_to_compare_is_left_out() -> None:
    parent = tiny_network()
    inputs = noise(2, parent)
    small = compress(parent, chosen(parent, channel=0.5))
    layer = "block.0.mlp.fc1_lif"
    kept = set(small.kept_channels["block.0.mlp.hidden"].tolist())
    gone = np.array([min(set(range(32)) - kept)])
    zero = np.zeros(1, np.int64)
    silent = np.zeros((3, 1), np.uint8)
    lost = LayerTrace(zero, zero, gone, np.ones((3, 1), np.float32), silent)
    traces = {**collect_traces(parent, inputs, 2), layer: lost}
    drifts = layer_drifts(small, traces, inputs, 2)
    assert set(traces) - set(drifts) == {layer}


def test_mean_drift_by_hand() -> None:
    assert mean_drift({"a": 0.25, "b": 0.75, "c": 0.5}) == 0.5
    assert mean_drift({}) == 0.0


def test_no_hook_stays_behind_even_after_an_error() -> None:
    parent = tiny_network()
    inputs = noise(2, parent)
    small = compress(parent, chosen(parent, token=0.5))
    traces = collect_traces(parent, inputs, 2)
    layer_drifts(small, traces, inputs, 2)
    with pytest.raises(BadInput, match="input of shape"):
        collect_traces(parent, inputs[..., :8], 2)
    with pytest.raises(BadInput, match="input of shape"):
        layer_drifts(small, traces, inputs[..., :8], 2)
    assert hooks(parent) == hooks(small) == 0
