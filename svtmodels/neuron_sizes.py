"""How many neurons a layer has: the shapes of one pass."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..spaces.candidate import Candidate
from .build import Build
from .network import Network
from .official import build_official


@dataclass(frozen=True, slots=True)
class NeuronSize:
    """Neurons of one layer of a trained network.

    Attributes:
        positions: of one image: pixels of a map, or tokens.
        channels: at each of them.
    """

    positions: int
    channels: int


_SIZES: WeakKeyDictionary[Network, dict[str, NeuronSize]] = WeakKeyDictionary()


def neuron_sizes(network: Network) -> dict[str, NeuronSize]:
    """Neurons of all layers of the full network, by path; measured once per network.

    A network that can run does so on one blank image. Others (compressed ones, those without
    weights) have a twin on torch's meta device do it, which computes shapes alone, but makes
    torch load its compiler first: 2 to 3 s in every process.
    """
    if network not in _SIZES:
        runs = network.device.type != "meta" and not network.training
        full = network.candidate == Candidate()
        _SIZES[network] = _measured(network if runs and full else _twin(network))
    return _SIZES[network]


def _twin(network: Network) -> Network:
    with torch.device("meta"):
        return build_official(network.architecture, network.arguments, Build(idle=False)).eval()


@torch.no_grad()
def _measured(network: Network) -> dict[str, NeuronSize]:
    shapes: dict[str, torch.Size] = {}

    def watch(name: str) -> Any:
        def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            shapes[name] = inputs[0].shape

        return network.get_submodule(name).register_forward_pre_hook(see)

    handles = [watch(layer.name) for layer in network.declaration.neurons]
    try:
        weight = next(chain(network.parameters(), network.buffers()))
        network(torch.zeros(1, *network.input_shape, dtype=weight.dtype, device=weight.device))
    finally:
        for handle in handles:
            handle.remove()
    # [T, B, ..., C] of one image.
    return {name: NeuronSize(shape[2:-1].numel(), shape[-1]) for name, shape in shapes.items()}
