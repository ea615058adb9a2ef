"""The layers of Spike-Driven Transformer v1: residual streams are membranes, not spikes."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from .declaration import Declaration, Place
from .parts.block import TokenBlock
from .parts.chain import Chains
from .parts.parametric_neuron import NeuronType
from .parts.spike_driven_attention import SpikeDrivenAttention
from .parts.stem import Pools, Stem
from .parts.synapse import Pointwise, pool
from .parts.tokens import TokenSelector


class MembraneStem(Stem):
    """SPS whose last map is pooled before its neurons, and which adds currents, not spikes."""

    def __init__(
        self,
        pools: Pools,
        static: bool,
        channels: int,
        widths: tuple[int, ...],
        neuron: NeuronType,
        *,
        idle: bool,
    ) -> None:
        super().__init__(pools, static, channels, widths, neuron)
        if idle:  # Never called; a neuron with a learnt time constant has a key.
            self.rpe_lif = neuron()

    @override
    def finish(self, currents: Tensor) -> Tensor:
        x = pool(currents) if self.pools[-1] else currents
        return x + self.rpe_bn(self.rpe_conv(self.spikes(3, x)))


class MembraneMlp(Chains):
    """``x + BN(W neuron(BN(W neuron(x))))``.

    Args:
        dim: channels of the residual stream.
        hidden: channels between.
        neuron: type of its neurons.
        inner_shortcut: whether the stream is added between as well; the official code does so
            where the trained network had as many channels there.
    """

    def __init__(self, dim: int, hidden: int, neuron: NeuronType, *, inner_shortcut: bool) -> None:
        super().__init__()
        self.inner_shortcut = inner_shortcut
        self.add_chain("fc1", Pointwise(dim, hidden, True, trailing=2), neuron())
        self.add_chain("fc2", Pointwise(hidden, dim, True, trailing=2), neuron())

    def forward(self, x: Tensor) -> Tensor:
        """Membrane stream [T, B, N, D] to membrane stream."""
        hidden = self.currents("fc1", self.spikes("fc1", x))
        if self.inner_shortcut:
            x = hidden = x + hidden
        return x + self.currents("fc2", self.spikes("fc2", hidden))


class MembraneBlock(TokenBlock):
    """Attention and MLP, each of which adds its own shortcut."""

    def __init__(
        self,
        attention: SpikeDrivenAttention,
        mlp: MembraneMlp,
        selector: TokenSelector | None = None,
    ) -> None:
        super().__init__(selector)
        self.attn = attention
        self.mlp = mlp

    @override
    def process(self, x: Tensor) -> Tensor:
        """Membrane stream [T, B, n, D] to membrane stream."""
        return self.mlp(self.attn(x))


def add_idle(attention: SpikeDrivenAttention, heads: int, neuron: NeuronType) -> None:
    """Add what is in the official state dict of an attention and never called."""
    attention.talking_heads = nn.Conv1d(heads, heads, 1, bias=False)
    attention.attn_lif = neuron()


def declare_membrane_mlp(
    path: str, place: Place, hidden: int, *, inner_shortcut: bool
) -> Declaration:
    """What a membrane MLP at a path declares.

    Its hidden channels are the stream's where an inner shortcut adds the two.
    """
    synapses, enter, leave = place.synapses(path, "fc1", "fc2"), f"{path}.fc1", f"{path}.fc2"
    if inner_shortcut:
        return Declaration(
            synapses,
            neurons=place.neurons(path, fc1_lif=place.residual, fc2_lif=place.residual),
            residuals=place.residuals(writes=(enter, leave), reads=(enter, leave)),
        )
    group = f"{path}.hidden"
    return Declaration(
        synapses,
        (place.group(group, hidden, (enter,), (leave,)),),
        neurons=place.neurons(path, fc1_lif=place.residual, fc2_lif=group),
        residuals=place.residuals(writes=(leave,), reads=(enter,)),
    )
