"""The layers of Spike-Driven Transformer v3 (E-SpikeFormer), its base and its large file."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from .declaration import Declaration, Place
from .metaformer_layers import Attention, Mlp, NeuronKind, normed
from .parts.block import TokenBlock
from .parts.drop_path import DropPath
from .parts.integer_neuron import IntegerNeuron, Rounding
from .parts.repconv import RepConv1d
from .parts.synapse import Conv, Pointwise
from .parts.tokens import TokenSelector

LEVELS = 4
"""D: levels of a spike, unless the large file is edited."""
SPIKE_NEURONS = NeuronKind("spike", IntegerNeuron, IntegerNeuron)
"""Those of the base file."""
_LAYER_SCALE = 1e-6


def half_up_neurons(levels: int) -> NeuronKind:
    """The neurons of the large file."""

    def make() -> nn.Module:
        return IntegerNeuron(levels, levels, Rounding.HALF_UP)

    return NeuronKind("lif", make, make)


class SpikingSeparableConv(nn.Module):
    """Neuron, 1x1, neuron, depthwise, neuron, 1x1; a batch norm behind each convolution.

    Args:
        dim: channels of the residual stream.
        middle: channels between.
        kernel: of the depthwise convolution.
    """

    def __init__(self, dim: int, middle: int, kernel: int) -> None:
        super().__init__()
        self.spike1 = IntegerNeuron()
        self.pwconv1 = normed(Pointwise(dim, middle, bias=False, trailing=2))
        self.spike2 = IntegerNeuron()
        self.dwconv = normed(Conv(middle, middle, kernel, groups=middle))
        self.spike3 = IntegerNeuron()
        self.pwconv2 = normed(Pointwise(middle, dim, bias=False, trailing=2))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [T, B, H, W, C] to currents of the same shape."""
        x = self.dwconv(self.spike2(self.pwconv1(self.spike1(x))))
        return self.pwconv2(self.spike3(x))


class Block(TokenBlock):
    """``x + conv(x)``, ``x + attn(x)``, ``x + mlp(x)``, on maps.

    `conv` is 3x3, so no token skips it; the rest is pointwise (methods 3.2).
    """

    def __init__(
        self,
        separable: SpikingSeparableConv,
        attention: Attention,
        mlp: Mlp,
        selector: TokenSelector | None = None,
    ) -> None:
        super().__init__(selector)
        self.conv = separable
        self.attn = attention
        self.mlp = mlp

    @override
    def everywhere(self, x: Tensor) -> Tensor:
        """Maps [T, B, H, W, C] to maps."""
        return x + self.conv(x)

    @override
    def process(self, x: Tensor) -> Tensor:
        """[T, B, ..., C] to the same shape."""
        x = x + self.attn(x)
        return x + self.mlp(x)


class LargeConvBlock(nn.Module):
    """``x +`` two convolutions 3x3 with bias and batch norm, a neuron before each."""

    def __init__(self, kind: NeuronKind, dim: int, hidden: int) -> None:
        super().__init__()
        self.neuron1 = kind.make()
        # One container more than needed, as the official keys have it.
        self.conv1 = nn.Sequential(normed(Conv(dim, hidden, 3, bias=True)))
        self.neuron2 = kind.make()
        self.conv2 = nn.Sequential(normed(Conv(hidden, dim, 3, bias=True)))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [T, B, H, W, C] to maps."""
        return x + self.conv2(self.neuron2(self.conv1(self.neuron1(x))))


class LargeBlock(TokenBlock):
    """``x + s1 attn(x)``, ``x + s2 mlp(x)`` with learnt scales per channel; pointwise throughout.

    Args:
        kind: of its neurons.
        dim: channels of the residual stream.
        attention: of tokens.
        mlp: likewise.
        rep: of the smaller network alone: ``x + rep(neuron(x))`` comes first.
        drop_path: probability that an image skips a branch in training.
        selector: chooses the tokens; the others skip the block.
    """

    def __init__(
        self,
        kind: NeuronKind,
        dim: int,
        attention: Attention,
        mlp: Mlp,
        rep: RepConv1d | None,
        drop_path: float,
        selector: TokenSelector | None = None,
    ) -> None:
        super().__init__(selector)
        self.rep_conv = rep
        if rep is not None:
            self.lif = kind.make()
        self.attn = attention
        self.mlp = mlp
        self.layer_scale1 = nn.Parameter(torch.full((dim,), _LAYER_SCALE))
        self.layer_scale2 = nn.Parameter(torch.full((dim,), _LAYER_SCALE))
        self.drop_path = DropPath(drop_path)

    @override
    def process(self, x: Tensor) -> Tensor:
        """Residual stream [T, B, n, C] to residual stream."""
        if self.rep_conv is not None:
            x = x + self.rep_conv(self.lif(x))
        x = x + self.drop_path(self.attn(x) * self.layer_scale1)
        return x + self.drop_path(self.mlp(x) * self.layer_scale2)


def declare_spiking_separable(path: str, place: Place, middle: int) -> Declaration:
    """What a `SpikingSeparableConv` declares."""
    enter, depth, leave = (
        place.synapse(f"{path}.{name}", f"{path}.{name}.0", f"{path}.{name}.1")
        for name in ("pwconv1", "dwconv", "pwconv2")
    )
    group = place.group(
        f"{path}.middle", middle, (enter.name,), (leave.name,), carriers=(depth.name,)
    )
    neurons = place.neurons(path, spike1=place.residual, spike2=group.name, spike3=group.name)
    residuals = place.residuals(writes=(leave.name,), reads=(enter.name,))
    return Declaration((enter, depth, leave), (group,), neurons=neurons, residuals=residuals)


def declare_large_conv_block(path: str, place: Place, hidden: int) -> Declaration:
    """What a `LargeConvBlock` declares."""
    first, second = (
        place.synapse(f"{path}.{name}", f"{path}.{name}.0.0", f"{path}.{name}.0.1")
        for name in ("conv1", "conv2")
    )
    group = place.group(f"{path}.hidden", hidden, (first.name,), (second.name,))
    neurons = place.neurons(path, neuron1=place.residual, neuron2=group.name)
    residuals = place.residuals(writes=(second.name,), reads=(first.name,))
    return Declaration((first, second), (group,), neurons=neurons, residuals=residuals)
