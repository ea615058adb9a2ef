"""The layers of Spike-Driven Transformer v2 (Meta-SpikeFormer) that no other network has."""

from __future__ import annotations

from torch import Tensor, nn

from .declaration import Declaration, Place, Source
from .metaformer_layers import Attention, Mlp, NeuronKind
from .parts.attention import ATTENTION_THRESHOLD
from .parts.neuron import LIF
from .parts.synapse import ChannelNorm, Conv, Pointwise

LIF_NEURONS = NeuronKind("lif", LIF, lambda: LIF(v_threshold=ATTENTION_THRESHOLD))


class SeparableConv(nn.Module):
    """Neuron, 1x1, batch norm, neuron, depthwise 7x7, 1x1, batch norm.

    The depthwise convolution has neither batch norm nor neuron behind it: the second 1x1 sees
    real values, not spikes.

    Args:
        dim: channels of the residual stream.
        middle: channels between.
    """

    def __init__(self, dim: int, middle: int) -> None:
        super().__init__()
        self.lif1 = LIF()
        self.pwconv1 = Pointwise(dim, middle, bias=False, trailing=2)
        self.bn1 = ChannelNorm(middle)
        self.lif2 = LIF()
        self.dwconv = Conv(middle, middle, 7, groups=middle)
        self.pwconv2 = Pointwise(middle, dim, bias=False, trailing=2)
        self.bn2 = ChannelNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [T, B, H, W, C] to currents of the same shape."""
        spikes = self.lif2(self.bn1(self.pwconv1(self.lif1(x))))
        return self.bn2(self.pwconv2(self.dwconv(spikes)))


class Block(nn.Module):
    """``x + attn(x)``, then ``x + mlp(x)``, on the grid: the attention's synapses are 3x3."""

    def __init__(self, attention: Attention, mlp: Mlp) -> None:
        super().__init__()
        self.attn = attention
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        """Maps [T, B, H, W, C] to maps."""
        x = x + self.attn(x)
        return x + self.mlp(x)


def declare_separable(path: str, place: Place, middle: int) -> Declaration:
    """What a `SeparableConv` declares."""
    enter = place.synapse(f"{path}.pwconv1", f"{path}.pwconv1", f"{path}.bn1")
    depth = place.synapse(f"{path}.dwconv", f"{path}.dwconv", None)
    leave = place.synapse(
        f"{path}.pwconv2", f"{path}.pwconv2", f"{path}.bn2", source=Source.CURRENTS
    )
    group = place.group(
        f"{path}.middle", middle, (enter.name,), (leave.name,), carriers=(depth.name,)
    )
    neurons = place.neurons(path, lif1=None, lif2=group.name)
    return Declaration((enter, depth, leave), (group,), neurons=neurons)
