"""SynOps of pruned synapses: a spike costs as much as its channel has weights that are not zero."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from evaluated_models import chosen, noise, tiny_network
from torch import Tensor, nn

from spikefront.evaluators.synops import SynOpCounter, sparse_operations, synapse_operations
from spikefront.svtmodels import Network, compress
from spikefront.svtmodels.parts.synapse import Conv, Pointwise, parameters_of


def _sparse(module: Conv | Pointwise, seed: int = 0) -> Conv | Pointwise:
    generator = torch.Generator().manual_seed(seed)
    keep = torch.rand(module.weight.shape, generator=generator) < 0.4
    module.weight = nn.Parameter(module.weight.detach() * keep)
    return module


def _brute(module: Conv, spikes: Tensor) -> int:
    """One by one: every spike, every kernel position, every output channel."""
    weight, window = module.weight, module.window
    stride, padding = window["stride"], window["padding"] or 0
    height, width = (
        (size + 2 * padding - weight.shape[-1]) // stride + 1 for size in spikes.shape[-3:-1]
    )
    total = 0
    for *image, y, x, c in spikes.nonzero().tolist():
        for i, j in itertools.product(range(weight.shape[2]), range(weight.shape[3])):
            row, column = y + padding - i, x + padding - j
            inside = row % stride == column % stride == 0
            inside &= 0 <= row // stride < height and 0 <= column // stride < width
            if inside:
                total += int(spikes[(*image, y, x, c)]) * int((weight[:, c, i, j] != 0).sum())
    return total


def _spikes(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 3, shape, generator=generator).float()


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (7, 2, 3), (2, 2, 0)]
)
def test_convolutions_against_every_single_spike(kernel: int, stride: int, padding: int) -> None:
    module = Conv(4, 5, kernel, stride=stride, padding=padding)
    spikes = _spikes(2, 2, 6, 7, 4)
    # Of a dense weight both ways agree.
    assert sparse_operations(module, spikes) == synapse_operations(module, spikes)
    assert _sparse(module) is module
    assert sparse_operations(module, spikes) == _brute(module, spikes)
    assert sparse_operations(module, spikes, unit=4) == 4 * _brute(module, spikes)


@pytest.mark.parametrize("shape", [(2, 3, 10, 6), (2, 3, 4, 5, 6), (2, 3, 6)])
def test_pointwise_synapses_count_weights_by_channel(shape: tuple[int, ...]) -> None:
    module, spikes = Pointwise(6, 9, bias=True, trailing=1), _spikes(*shape)
    assert sparse_operations(module, spikes) == synapse_operations(module, spikes)
    _sparse(module)
    expected = (spikes.reshape(-1, 6) @ (module.weight.flatten(1) != 0).float().T).sum()
    assert sparse_operations(module, spikes) == int(expected)


@torch.no_grad()
@pytest.mark.parametrize("bits", [32, 3])
def test_a_pruned_network_is_counted_by_its_weights(bits: int) -> None:
    parent = tiny_network()
    network = compress(parent, chosen(parent, density=0.3, weight=bits))
    x = noise(2, network)
    with SynOpCounter(network) as counted:
        network(x)
    paths = {s.name: s.weight for s in network.declaration.synapses}
    seen = inputs_of(network, paths, x)
    for name in ("block.0.mlp.fc1", "block.1.attn.q"):
        # Codes that rounding made zero cost as little as those that were pruned.
        weight, _ = parameters_of(network.get_submodule(paths[name]))
        expected = seen[name].flatten(0, -2) @ (weight.flatten(1) != 0).float().T
        assert counted.by_layer[name] == int(expected.sum()) > 0


def inputs_of(network: Network, paths: Mapping[str, str], x: Tensor) -> dict[str, Tensor]:
    """What enters each synapse, by its name."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def see(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            seen[name] = args[0]

        return see

    handles = [
        network.get_submodule(path).register_forward_pre_hook(keep(name))
        for name, path in paths.items()
    ]
    network(x)
    for handle in handles:
        handle.remove()
    return seen


@torch.no_grad()
def test_unpruned_synapses_are_dense_whatever_their_codes() -> None:
    parent = tiny_network()
    network = compress(parent, chosen(parent, weight=2))
    with SynOpCounter(network) as counted:
        network(noise(1, network))
    weight, _ = parameters_of(network.get_submodule("block.0.mlp.fc1_linear"))
    assert bool((weight == 0).any())
    assert counted.by_layer["block.0.mlp.fc1"] % len(weight) == 0
