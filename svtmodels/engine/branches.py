"""The layers inside a block: attentions, MLPs and convolutions, from stream to stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from ..metaformer_layers import Attention, ConvBlock, DownSampling
from ..metaformer_layers import Mlp as CurrentMlp
from ..parts.chain import Chains
from ..parts.mlp import Mlp
from ..parts.self_attention import SelfAttention
from ..parts.spike_driven_attention import ErodedAttention, SpikeDrivenAttention
from ..parts.token_attention import TokenAttention
from ..sdt_v1_layers import MembraneMlp
from ..sdt_v2_layers import SeparableConv
from ..sdt_v3_layers import LargeConvBlock, SpikingSeparableConv
from .attention import HadamardAttention, MatrixAttention, TokenMaskAttention
from .context import Context
from .neurons import NeuronRun
from .rows import Rows
from .synapse_run import SynapseRun
from .synapses import synapse_run

Branch = Callable[[Rows], Rows]
"""Residual stream to residual stream, or to the spikes that it gains."""


def chain_run(context: Context, layer: Chains, name: str) -> SynapseRun:
    """Synapse, batch norm and the neurons behind."""
    parts = (f"{name}_{layer.suffix}", f"{name}_bn", f"{name}_lif")
    weight, norm, neuron = map(layer.get_submodule, parts)
    return synapse_run(context, weight, norm, neuron)


def currents_run(context: Context, layer: Chains, name: str) -> SynapseRun:
    """Synapse and batch norm alone."""
    parts = (f"{name}_{layer.suffix}", f"{name}_bn")
    return synapse_run(context, *map(layer.get_submodule, parts))


def normed_run(context: Context, synapse: nn.Module, neuron: nn.Module | None = None) -> SynapseRun:
    """A synapse and its batch norm under the keys 0 and 1, or one that needs no other."""
    if not isinstance(synapse, nn.Sequential):
        return synapse_run(context, synapse, None, neuron)
    weight, norm = synapse.get_submodule("0"), synapse.get_submodule("1")
    return synapse_run(context, weight, norm, neuron)


class SelfAttentionRun:
    """SSA: the spikes that it adds."""

    def __init__(self, context: Context, layer: SelfAttention) -> None:
        self._qkv = [chain_run(context, layer, name) for name in ("q", "k", "v")]
        name = context.path(layer)
        self._product = MatrixAttention(context, name, layer.attn_lif, layer.heads, layer.scale)
        self._proj = chain_run(context, layer, "proj")

    def __call__(self, x: Rows) -> Rows:
        """Spikes for spike sums."""
        q, k, v = (run(x) for run in self._qkv)
        return self._proj(self._product(q, k, v))


class TokenAttentionRun:
    """QKTA: the spikes that it adds."""

    def __init__(self, context: Context, layer: TokenAttention) -> None:
        self._qk = [chain_run(context, layer, name) for name in ("q", "k")]
        name = context.path(layer)
        self._product = TokenMaskAttention(context, name, layer.attn_lif, layer.heads)
        self._proj = chain_run(context, layer, "proj")

    def __call__(self, x: Rows) -> Rows:
        """Spikes for spike sums."""
        q, k = (run(x) for run in self._qk)
        return self._proj(self._product(q, k))


class MlpRun:
    """The MLP of networks that add spikes: the spikes that it adds."""

    def __init__(self, context: Context, layer: Mlp) -> None:
        self._first, self._second = (chain_run(context, layer, name) for name in layer.names)

    def __call__(self, x: Rows) -> Rows:
        """Spikes for spike sums."""
        return self._second(self._first(x))


class SpikeDrivenAttentionRun:
    """SDSA-1: the stream with what it adds."""

    def __init__(self, context: Context, layer: SpikeDrivenAttention) -> None:
        self._neuron = NeuronRun(context, layer.shortcut_lif)
        self._qkv = [chain_run(context, layer, name) for name in ("q", "k", "v")]
        name = context.path(layer)
        self._product = HadamardAttention(context, name, layer.talking_heads_lif, 1)
        self._proj = currents_run(context, layer, "proj")

    def __call__(self, x: Rows) -> Rows:
        """Membrane stream to membrane stream."""
        seen = self._neuron(x)
        q, k, v = (run(seen) for run in self._qkv)
        return self._proj(self._product(q, k, v), x)


class PlainLayer:
    """A layer that no kernel computes, as its plain module on tokens."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer

    def __call__(self, x: Rows) -> Rows:
        """Stream to stream."""
        return x.like(self._layer(x.plain()))


class MembraneMlpRun:
    """The MLP of networks that add currents, with a neuron before each synapse."""

    def __init__(self, context: Context, layer: MembraneMlp) -> None:
        self._neuron = NeuronRun(context, layer.get_submodule("fc1_lif"))
        self._inner = layer.inner_shortcut
        between = layer.get_submodule("fc2_lif")
        conv, bn = layer.get_submodule("fc1_conv"), layer.get_submodule("fc1_bn")
        self._first = synapse_run(context, conv, bn, None if self._inner else between)
        self._between = NeuronRun(context, between) if self._inner else None
        self._second = currents_run(context, layer, "fc2")

    def __call__(self, x: Rows) -> Rows:
        """Membrane stream to membrane stream."""
        if self._between is None:
            return self._second(self._first(self._neuron(x)), x)
        x = self._first(self._neuron(x), x)
        return self._second(self._between(x), x)


class CurrentMlpRun:
    """The MLP of Spike-Driven Transformer v2 and v3."""

    def __init__(self, context: Context, layer: CurrentMlp) -> None:
        first, second = (
            [layer.get_submodule(f"{name}_{kind}") for kind in (layer.suffix, "conv", "bn")]
            for name in ("fc1", "fc2")
        )
        self._neuron = NeuronRun(context, first[0])
        self._first = synapse_run(context, first[1], first[2], second[0])
        self._second = synapse_run(context, second[1], second[2])

    def __call__(self, x: Rows, base: Rows | None) -> Rows:
        """Currents for a stream, added to a base."""
        return self._second(self._first(self._neuron(x)), base)


class CurrentAttentionRun:
    """The attention of Spike-Driven Transformer v2 and v3."""

    def __init__(self, context: Context, layer: Attention) -> None:
        def neuron(name: str) -> nn.Module:
            return layer.get_submodule(f"{name}_{layer.suffix}")

        self._head = NeuronRun(context, neuron("head"))
        self._qkv = [
            normed_run(context, layer.get_submodule(f"{name}_conv"), neuron(name))
            for name in ("q", "k", "v")
        ]
        name = context.path(layer)
        self._product = MatrixAttention(context, name, neuron("attn"), layer.heads, layer.scale)
        self._proj = normed_run(context, layer.get_submodule("proj_conv"))

    def __call__(self, x: Rows, base: Rows | None) -> Rows:
        """Currents for a stream, added to a base."""
        seen = self._head(x)
        q, k, v = (run(seen) for run in self._qkv)
        return self._proj(self._product(q, k, v), base)


class SeparableRun:
    """The separable convolution of Spike-Driven Transformer v2, added to the stream."""

    def __init__(self, context: Context, layer: SeparableConv) -> None:
        self._neuron = NeuronRun(context, layer.lif1)
        self._enter = synapse_run(context, layer.pwconv1, layer.bn1, layer.lif2)
        self._depth = synapse_run(context, layer.dwconv, None)
        self._leave = synapse_run(context, layer.pwconv2, layer.bn2)

    def __call__(self, x: Rows) -> Rows:
        """Membrane stream to membrane stream."""
        return self._leave(self._depth(self._enter(self._neuron(x))), x)


class SpikingSeparableRun:
    """The separable convolution of Spike-Driven Transformer v3, added to the stream."""

    def __init__(self, context: Context, layer: SpikingSeparableConv) -> None:
        self._neuron = NeuronRun(context, layer.spike1)
        self._enter = normed_run(context, layer.pwconv1, layer.spike2)
        self._depth = normed_run(context, layer.dwconv, layer.spike3)
        self._leave = normed_run(context, layer.pwconv2)

    def __call__(self, x: Rows) -> Rows:
        """Membrane stream to membrane stream."""
        return self._leave(self._depth(self._enter(self._neuron(x))), x)


class ConvBlockRun:
    """A separable convolution and two dense ones, each part added to the stream."""

    def __init__(self, context: Context, block: ConvBlock) -> None:
        self._separable = separable_run(context, block.Conv)
        (n1, c1, b1), (n2, c2, b2) = (
            [block.get_submodule(f"{kind}{i}") for kind in (block.suffix, "conv", "bn")]
            for i in "12"
        )
        self._neuron = NeuronRun(context, n1)
        self._first = synapse_run(context, c1, b1, n2)
        self._second = synapse_run(context, c2, b2)

    def __call__(self, x: Rows) -> Rows:
        """Membrane stream to membrane stream."""
        x = self._separable(x)
        return self._second(self._first(self._neuron(x)), x)


class LargeConvBlockRun:
    """Two dense convolutions, added to the stream."""

    def __init__(self, context: Context, block: LargeConvBlock) -> None:
        self._neuron = NeuronRun(context, block.neuron1)
        self._first = normed_run(context, block.conv1.get_submodule("0"), block.neuron2)
        self._second = normed_run(context, block.conv2.get_submodule("0"))

    def __call__(self, x: Rows) -> Rows:
        """Membrane stream to membrane stream."""
        return self._second(self._first(self._neuron(x)), x)


class DownSamplingRun:
    """A neuron and a convolution that opens a new stream."""

    def __init__(self, context: Context, layer: DownSampling) -> None:
        self._neuron = NeuronRun(context, layer.neuron)
        self._synapse = synapse_run(context, layer.encode_conv, layer.encode_bn)

    def __call__(self, x: Rows) -> Rows:
        """Membrane stream to the next one."""
        return self._synapse(self._neuron(x))


def separable_run(context: Context, layer: nn.Module) -> Branch:
    """Run of either separable convolution."""
    if isinstance(layer, SeparableConv):
        return SeparableRun(context, layer)
    assert isinstance(layer, SpikingSeparableConv)
    return SpikingSeparableRun(context, layer)


def hadamard_run(context: Context, layer: SpikeDrivenAttention) -> Branch:
    """Run of SDSA-1; the max filters of its event-data mode have no kernel."""
    if isinstance(layer, ErodedAttention):
        context.plain[context.path(layer)] = "max filters over tokens have no kernel"
        return PlainLayer(layer)
    return SpikeDrivenAttentionRun(context, layer)


def scaled(currents: Rows, base: Rows, scale: Tensor) -> Rows:
    """Stream with currents that a learnt scale [C] multiplies, in the network's order."""
    return replace(base, data=base.data + currents.data * scale)
