"""SynOps against spikingjelly's counter, which counts binary inputs of single operations.

An integer spike of n is the sum of the binary planes x >= 1, x >= 2, …, so the oracle counts each
plane. Its convention for q (k^T v) is ours: a query spike adds one row of k^T v, whatever the row
holds; only where k^T v happens to be binary itself does it skip the zeros, which is tested apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from evaluated_models import chosen, digits_network, few_digits, hooks, noise, tiny_network
from spikingjelly.activation_based import op_counter
from torch import Tensor, nn

from spikefront.evaluators.data import Preprocessing
from spikefront.evaluators.synops import (
    SynOpCounter,
    attention_operations,
    synapse_operations,
)
from spikefront.spaces import BadInput
from spikefront.svtmodels.network import Network
from spikefront.svtmodels.parts.attention import spiking_attention
from spikefront.svtmodels.parts.synapse import Conv, Pointwise
from spikefront.svtmodels.surgery.compress import compress

STEM = [f"patch_embed.{name}" for name in ("proj_conv1", "proj_conv2", "proj_conv3", "rpe_conv")]
ENCODER = ["attn.q", "attn.k", "attn.v", "attn.proj", "mlp.fc1", "mlp.fc2"]
BINARY = [*STEM, *(f"block.{b}.{s}" for b in (0, 1) for s in ("attn.proj", "mlp.fc2"))]
"""Synapses that see spikes, not sums of spikes."""

CANDIDATES = {
    "trained": {},
    "bits": {"weight": 3},
    "smaller": {"channel": 0.5, "token": 0.5, "time": 2, "weight": 8},
}


@torch.no_grad()
def oracle(run: Callable[[], Any]) -> int:
    """What spikingjelly counts while something runs."""
    counter = op_counter.SynOpCounter()
    with op_counter.DispatchCounterMode([counter]):
        run()
    return int(counter.get_total())


def oracle_planes(module: nn.Module, spikes: Tensor) -> int:
    """Sum of the oracle's counts over the binary planes of integer spikes."""
    assert torch.equal(spikes, spikes.round())
    assert (spikes >= 0).all()
    total = 0
    for level in range(1, int(spikes.max()) + 1):
        plane = (spikes >= level).to(spikes.dtype)
        total += oracle(lambda plane=plane: module(plane))
    return total


@torch.no_grad()
def inputs_of(network: Network, names: dict[str, str], x: Tensor) -> dict[str, Tensor]:
    """What enters modules, by name, when a network sees x."""
    seen: dict[str, Tensor] = {}
    handles = []
    for name, path in names.items():

        def watch(module: Any, inputs: tuple[Tensor, ...], name: str = name) -> None:
            seen[name] = inputs[0].clone()

        handles.append(network.get_submodule(path).register_forward_pre_hook(watch))
    network(x)
    for handle in handles:
        handle.remove()
    return seen


def firing(rate: float, *shape: int, seed: int = 0) -> Tensor:
    """Binary spikes."""
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def spike_synapses(network: Network) -> dict[str, str]:
    """Path of every synapse that sees spikes: all but the first and the classifier."""
    paths = {name: name for name in STEM}
    for block in (0, 1):
        paths |= {f"block.{block}.{s}": f"block.{block}.{s}_linear" for s in ENCODER}
    return paths


@pytest.mark.parametrize("levels", CANDIDATES.values(), ids=CANDIDATES.keys())
def test_every_synapse_agrees_with_the_oracle(levels: dict[str, float]) -> None:
    parent = tiny_network()
    network = compress(parent, chosen(parent, **levels))
    x = noise(3, network)
    with torch.no_grad(), SynOpCounter(network) as counted:
        network(x)
    paths = spike_synapses(network)
    seen = inputs_of(network, paths, x)
    for name, path in paths.items():
        expected = oracle_planes(network.get_submodule(path), seen[name])
        assert counted.by_layer[name] == expected, name
    assert max(float(s.max()) for s in seen.values()) >= 2  # integers were among them
    assert sum(counted.by_layer.values()) == counted.total


@torch.no_grad()
def test_the_whole_network_under_the_oracle_at_once() -> None:
    network = tiny_network()
    x = noise(3, network)
    theirs = op_counter.SynOpCounter()
    with SynOpCounter(network) as counted:
        network(x)
    with op_counter.DispatchCounterMode([theirs]):
        network(x)
    scopes = theirs.get_counts()
    for name in BINARY:
        path = spike_synapses(network)[name]
        assert counted.by_layer[name] == sum(scopes[f"Spikformer.{path}"].values()) > 0, name


@torch.no_grad()
def test_what_is_counted_and_what_is_not() -> None:
    network = tiny_network()
    with SynOpCounter(network) as counted:
        network(noise(2, network))
    attentions = {"block.0.attn", "block.1.attn"}
    # Not the image's synapse (patch_embed.proj_conv), nor the classifier: they cost MACs.
    assert set(counted.by_layer) == {*spike_synapses(network), *attentions}


def test_a_convolution_at_the_border_by_hand() -> None:
    conv = Conv(2, 5, 3)
    spikes = torch.zeros(1, 1, 4, 6, 2)
    expected = {(0, 0): 4, (0, 3): 6, (2, 0): 6, (3, 5): 4, (1, 1): 9}
    for (row, column), outputs in expected.items():
        spikes.zero_()[0, 0, row, column, 1] = 1
        assert synapse_operations(conv, spikes) == 5 * outputs
    assert synapse_operations(conv, torch.ones(1, 1, 1, 1, 2)) == 2 * 5
    # Three spikes in one are three accumulates.
    assert synapse_operations(conv, 3 * spikes) == 3 * synapse_operations(conv, spikes)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (7, 5)])
def test_padded_convolutions_agree_with_the_oracle(kernel: int, size: tuple[int, int]) -> None:
    conv, spikes = Conv(3, 4, kernel), firing(0.4, 2, 3, *size, 3)
    assert synapse_operations(conv, spikes) == oracle(lambda: conv(spikes))
    integers = spikes + firing(0.3, 2, 3, *size, 3, seed=1)
    assert synapse_operations(conv, integers) == oracle_planes(conv, integers)


@pytest.mark.parametrize("trailing", [0, 1, 2])
def test_pointwise_synapses_agree_with_the_oracle(trailing: int) -> None:
    module, spikes = Pointwise(6, 7, True, trailing), firing(0.3, 2, 3, 5, 6)
    assert synapse_operations(module, spikes) == oracle(lambda: module(spikes))
    assert synapse_operations(module, spikes) == 7 * int(spikes.sum())


def brute_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> int:
    """Accumulates of q (k^T v), one by one: step, image, head, token and pair of channels."""
    q, k, v = (x.unflatten(-1, (heads, -1)).int() for x in (q, k, v))
    coincidences = sum(
        int(key) * int(value)
        for keys, values in zip(k.flatten(0, 3), v.flatten(0, 3), strict=True)
        for key in keys
        for value in values
    )
    rows = sum(int(query) * v.shape[-1] for query in q.flatten())
    return coincidences + rows


@pytest.mark.parametrize("widths", [(8, 8), (4, 12), (12, 4)])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_products_against_brute_force(widths: tuple[int, int], heads: int) -> None:
    qk, v_width = widths
    q, k = (firing(0.3, 2, 2, 5, qk, seed=s) for s in (1, 2))
    v = firing(0.4, 2, 2, 5, v_width, seed=3)
    assert attention_operations(q, k, v, heads) == brute_attention(q, k, v, heads)


def test_attention_products_agree_with_the_oracle() -> None:
    q, k, v = (firing(0.5, 2, 2, 9, 8, seed=s) for s in (1, 2, 3))
    assert attention_operations(q, k, v, 2) == oracle(lambda: spiking_attention(q, k, v, 2, 0.125))


def test_where_the_oracle_sees_a_binary_product_it_skips_its_zeros() -> None:
    # One token: k^T v is 0 or 1 everywhere, and the oracle then counts coincidences in
    # q (k^T v), too. Hardware does not know that and adds whole rows; so do we.
    q, k, v = (firing(0.5, 1, 1, 1, 4, seed=s) for s in (1, 2, 3))
    rows = int(q.sum()) * 4
    coincidences = int(k.sum() * v.sum())
    assert attention_operations(q, k, v, 1) == coincidences + rows
    theirs = oracle(lambda: spiking_attention(q, k, v, 1, 1.0))
    assert theirs == coincidences + int((q @ (k.mT @ v)).sum()) < coincidences + rows


@torch.no_grad()
def test_attention_of_a_network_is_that_of_its_spikes() -> None:
    parent = tiny_network()
    network = compress(parent, chosen(parent, token=0.5, channel=0.5))
    spikes: dict[str, Tensor] = {}
    attention = network.get_submodule("block.1.attn")

    def keep(part: str) -> Any:
        def remember(module: Any, inputs: Any, output: Tensor) -> None:
            spikes[part] = output

        return attention.get_submodule(f"{part}_lif").register_forward_hook(remember)

    handles = [keep(part) for part in ("q", "k", "v")]
    with SynOpCounter(network) as counted:
        network(noise(2, network))
    for handle in handles:
        handle.remove()
    assert spikes["q"].shape == (3, 2, 8, 8)
    expected = brute_attention(spikes["q"], spikes["k"], spikes["v"], 2)
    assert counted.by_layer["block.1.attn"] == expected > 0


@torch.no_grad()
def test_the_cut_into_batches_does_not_matter() -> None:
    network = tiny_network()
    x = noise(6, network)
    with SynOpCounter(network) as whole:
        network(x)
    with SynOpCounter(network) as parts:
        for image in x:
            network(image[None])
    assert parts.by_layer == whole.by_layer
    assert parts.total == whole.total > 0


@torch.no_grad()
def test_a_trained_network_agrees_with_the_oracle() -> None:
    network = digits_network()
    x = Preprocessing.preset("digits").apply(few_digits().search.images[:1])
    with SynOpCounter(network) as counted:
        network(x)
    paths = spike_synapses(network)
    seen = inputs_of(network, paths, x)
    expected = sum(oracle_planes(network.get_submodule(p), seen[n]) for n, p in paths.items())
    products = counted.by_layer["block.0.attn"] + counted.by_layer["block.1.attn"]
    assert counted.total == expected + products
    assert products > 0


@torch.no_grad()
def test_nothing_is_counted_outside_and_no_hook_stays_behind() -> None:
    network = tiny_network()
    x = noise(1, network)
    counter = SynOpCounter(network)
    network(x)
    assert counter.total == 0
    with counter:
        assert hooks(network) > 0
        network(x)
    inside = counter.total
    network(x)
    assert counter.total == inside > 0
    with pytest.raises(BadInput), counter:
        network(x[..., :8])
    assert hooks(network) == 0
