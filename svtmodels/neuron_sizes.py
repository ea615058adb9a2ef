"""How many neurons a layer has: the shapes of one pass without numbers."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

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
    """Neurons of all layers of a trained network, by path.

    They are those of a pass on torch's meta device, which computes shapes alone: milliseconds,
    once per network.
    """
    if network not in _SIZES:
        _SIZES[network] = _measured(network)
    return _SIZES[network]


class _Ruler(nn.Module):
    """Stands where a neuron layer was and remembers what entered."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = torch.Size()

    def forward(self, x: Tensor) -> Tensor:
        self.shape = x.shape
        return x


@torch.no_grad()
def _measured(network: Network) -> dict[str, NeuronSize]:
    with torch.device("meta"):
        twin = build_official(network.architecture, network.arguments, Build(idle=False)).eval()
        image = torch.empty(1, *network.input_shape)
    rulers = {layer.name: _Ruler() for layer in network.declaration.neurons}
    for name, ruler in rulers.items():
        twin.set_submodule(name, ruler)
    twin(image)
    # [T, B, ..., C] of one image.
    return {
        name: NeuronSize(ruler.shape[2:-1].numel(), ruler.shape[-1])
        for name, ruler in rulers.items()
    }
