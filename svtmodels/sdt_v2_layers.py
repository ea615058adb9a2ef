"""The layers of Spike-Driven Transformer v2 (Meta-SpikeFormer) that no other network has."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from .declaration import Declaration, Place, Source
from .metaformer_layers import Attention, Mlp, NeuronKind
from .parts.attention import ATTENTION_THRESHOLD
from .parts.block import TokenBlock
from .parts.neuron import LIF
from .parts.synapse import ChannelNorm, Conv, Pointwise
from .parts.tokens import Places, TokenSelector

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


class Block(TokenBlock):
    """``x + attn(x)``, then ``x + mlp(x)``, on maps: the attention's synapses are 3x3.

    Where only some tokens pass, these synapses still run on the whole grid; the rest does not.
    """

    def __init__(
        self, attention: Attention, mlp: Mlp, selector: TokenSelector | None = None
    ) -> None:
        super().__init__(selector)
        self.attn = attention
        self.mlp = mlp

    @override
    def process(self, x: Tensor) -> Tensor:
        """Maps [T, B, H, W, C] to maps."""
        x = x + self.attn(x)
        return x + self.mlp(x)

    @override
    def process_some(self, x: Tensor, places: Places) -> Tensor:
        """Tokens [T, B, k, C] to tokens."""
        x = x + self.attn.masked(x, places)
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
    neurons = place.neurons(path, lif1=place.residual, lif2=group.name)
    residuals = place.residuals(writes=(leave.name,), reads=(enter.name,))
    return Declaration((enter, depth, leave), (group,), neurons=neurons, residuals=residuals)
