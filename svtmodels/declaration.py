"""What a network declares about itself, so that surgery, costs and traces need no tracing."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, fields, replace
from typing import TypeVar

_Kept = TypeVar("_Kept")


class Source(enum.StrEnum):
    """What enters a synapse."""

    IMAGE = "image"
    """A real-valued image, the same at every step: one evaluation serves all steps."""
    EVENTS = "events"
    """Event counts, new at every step."""
    SPIKES = "spikes"
    """Spikes or sums of spikes: small integers, or such divided by a constant."""
    CURRENTS = "currents"
    """Real values between two synapses without a neuron, new at every step."""
    POOLED = "pooled"
    """What is averaged over tokens, over steps or both for the classifier, once per image."""


@dataclass(frozen=True, slots=True)
class Synapse:
    """One weight tensor with the batch norm behind it.

    Attributes:
        name: of the weight site, e.g. ``block.0.mlp.fc1``.
        weight: path of the module that holds weight and bias.
        norm: path of the batch norm; None if there is none.
        positions: outputs per channel and step (H*W, or tokens); 1 for the classifier.
        source: what enters it.
        stage: of the network.
        block: of the network.
        tokens: token site that reduces its positions; None if none does.
        links: what it is stored as, if it is a `CompositeSynapse`: the synapses of its chain, in
            order; `norm` is the batch norm behind them. It is one weight site, and counts as the
            one synapse that it amounts to.
    """

    name: str
    weight: str
    norm: str | None
    positions: int
    source: Source
    stage: str
    block: str
    tokens: str | None = None
    links: tuple[Synapse, ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Coupled channels that can only leave together.

    Attributes:
        name: of the channel site, e.g. ``block.0.attn.qk``.
        size: channels.
        heads: number of contiguous parts that must keep equal widths; 1 if there are none.
        producers: synapses whose output channels they are.
        consumers: synapses whose input channels they are.
        stage: of the network.
        block: of the network.
        whole_heads: whether heads leave whole, because the channels of a head see each other;
            otherwise all heads shrink alike.
        carriers: depthwise synapses between producers and consumers, which take each channel to
            itself.
    """

    name: str
    size: int
    heads: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    stage: str
    block: str
    whole_heads: bool = False
    carriers: tuple[str, ...] = ()

    @property
    def unit(self) -> int:
        """Legal widths are multiples of it."""
        return self.size // self.heads if self.whole_heads else self.heads


@dataclass(frozen=True, slots=True)
class Stream:
    """A residual stream: what all branches of a stage read, and what each adds to.

    Attributes:
        name: of the residual site: the module that opens the stream, and ``.out``.
        size: channels.
        stage: of the network.
        block: of the network; the module that opens it.
    """

    name: str
    size: int
    stage: str
    block: str

    @classmethod
    def behind(cls, module: str, size: int, stage: str) -> Stream:
        """The stream that a module opens."""
        return cls(f"{module}.out", size, stage, module)

    def group(
        self, *, writes: tuple[str, ...] = (), reads: tuple[str, ...] = ()
    ) -> tuple[ChannelGroup, ...]:
        """Part of its channel group: the synapses of one layer that write or read it."""
        return (ChannelGroup(self.name, self.size, 1, writes, reads, self.stage, self.block),)


@dataclass(frozen=True, slots=True)
class ChannelScale:
    """A parameter [C] that multiplies a residual branch, channel by channel.

    Attributes:
        path: of the parameter.
        channels: channel group that it follows.
    """

    path: str
    channels: str


@dataclass(frozen=True, slots=True)
class TokenSite:
    """A block that may process fewer tokens.

    Attributes:
        name: of the site, the path of the block.
        tokens: on the full grid.
        stream: that is scored.
        stage: of the network.
    """

    name: str
    tokens: int
    stream: Stream
    stage: str


class AttentionKind(enum.StrEnum):
    """How queries, keys and values meet."""

    MATRIX = "matrix"
    """Two matrix products, ``q (k^T v)``, per head (SSA, SDSA-3)."""
    HADAMARD = "hadamard"
    """Element by element: ``q * neuron(sum over tokens of k * v)`` (SDSA-1)."""
    TOKEN = "token"
    """A mask over tokens: ``neuron(sum over a head's channels of q) * k`` (QKTA)."""


@dataclass(frozen=True, slots=True)
class AttentionProduct:
    """What an attention computes besides its synapses.

    Attributes:
        name: path of the attention; its neurons are ``q_lif``, ``k_lif`` and ``v_lif`` below it,
            or what `neurons` says instead of ``lif``.
        tokens: on the full grid.
        heads: number of heads.
        qk: channel group of queries and keys (QKTA: of queries alone).
        v: channel group of values (QKTA: of keys, which are let through in their place).
        site: token site that reduces the tokens; None if none does.
        kind: how they meet.
        mask: path of the neuron whose input is the sum; None for matrix products.
    """

    name: str
    tokens: int
    heads: int
    qk: str
    v: str
    site: str | None
    kind: AttentionKind = AttentionKind.MATRIX
    mask: str | None = None
    neurons: str = "lif"

    def macs(self, tokens: int, qk: int, v: int) -> int:
        """Multiply-accumulates of one image and step, if every spike were there.

        Args:
            tokens: that pass.
            qk: channels of its group `qk`.
            v: channels of its group `v`.
        """
        if self.kind is AttentionKind.MATRIX:
            return 2 * tokens * qk * v // self.heads
        # One per channel and token to sum up, one to mask.
        return tokens * (qk + v)


@dataclass(frozen=True, slots=True)
class NeuronLayer:
    """A layer of neurons, fed by [T, B, ..., C].

    Attributes:
        name: path of the neuron.
        stage: of the network.
        block: of the network.
        channels: channel group that its channels follow; None if they cannot leave.
        tokens: token site that its positions follow; None if they cannot leave.
    """

    name: str
    stage: str
    block: str
    channels: str | None = None
    tokens: str | None = None


@dataclass(frozen=True, slots=True)
class Declaration:
    """Everything that can be compressed, in the order in which signals pass.

    `channels` lie within a branch; `residuals` are the streams that branches add to, each with
    all synapses that write and read it. A synapse may have one of either kind at both ends.
    """

    synapses: tuple[Synapse, ...] = ()
    channels: tuple[ChannelGroup, ...] = ()
    tokens: tuple[TokenSite, ...] = ()
    attentions: tuple[AttentionProduct, ...] = ()
    neurons: tuple[NeuronLayer, ...] = ()
    scales: tuple[ChannelScale, ...] = ()
    residuals: tuple[ChannelGroup, ...] = ()

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """All coupled groups, those of residual streams last; no two of them have a name."""
        return (*self.channels, *self.residuals)

    @property
    def stored(self) -> tuple[Synapse, ...]:
        """All synapses that hold a weight of their own: links instead of what they make up."""
        return tuple(part for synapse in self.synapses for part in synapse.links or (synapse,))

    def rows_and_columns(
        self, kept: Mapping[str, _Kept]
    ) -> tuple[dict[str, _Kept], dict[str, _Kept]]:
        """What is kept of output and input channels, by synapse name, links included.

        Args:
            kept: what is kept of channel groups, by their names: widths, or indices.
        """
        rows: dict[str, _Kept] = {}
        columns: dict[str, _Kept] = {}
        for group in self.groups:
            if group.name in kept:
                rows |= dict.fromkeys((*group.producers, *group.carriers), kept[group.name])
                columns |= dict.fromkeys(group.consumers, kept[group.name])
        for synapse in self.synapses:
            if synapse.links and synapse.name in rows:
                rows[synapse.links[-1].name] = rows[synapse.name]
            if synapse.links and synapse.name in columns:
                columns[synapse.links[0].name] = columns[synapse.name]
        return rows, columns

    @classmethod
    def join(cls, parts: Iterable[Declaration]) -> Declaration:
        """One declaration of several, in their order; parts of one stream become one group."""
        parts = tuple(parts)
        joined = cls(
            *(
                tuple(entry for part in parts for entry in getattr(part, field.name))
                for field in fields(cls)
            )
        )
        return replace(joined, residuals=_united(joined.residuals))


def _united(groups: Iterable[ChannelGroup]) -> tuple[ChannelGroup, ...]:
    """Groups of one name as one, with the producers and consumers of all of them."""
    united: dict[str, ChannelGroup] = {}
    for group in groups:
        known = united.get(group.name, replace(group, producers=(), consumers=()))
        united[group.name] = replace(
            known,
            producers=(*known.producers, *group.producers),
            consumers=(*known.consumers, *group.consumers),
        )
    return tuple(united.values())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part stands in its network: what all that it declares has in common.

    Attributes:
        stage: of the network.
        block: of the network.
        positions: outputs per channel and step of its synapses.
        tokens: token site that reduces them; None if none does.
        suffix: of the paths of its synapses: ``q_conv`` or ``q_linear``.
        stream: residual stream that it reads and writes.
    """

    stage: str
    block: str
    positions: int
    tokens: str | None = None
    suffix: str = "conv"
    _: KW_ONLY
    stream: Stream

    @property
    def residual(self) -> str:
        """Channel group of the stream."""
        return self.stream.name

    def residuals(
        self, *, writes: tuple[str, ...] = (), reads: tuple[str, ...] = ()
    ) -> tuple[ChannelGroup, ...]:
        """The part's share in the group of its stream."""
        return self.stream.group(writes=writes, reads=reads)

    def synapses(self, part: str, *names: str) -> tuple[Synapse, ...]:
        """Synapses of chains of the part, which see spikes."""
        paths = (f"{part}.{name}" for name in names)
        return tuple(self.synapse(p, f"{p}_{self.suffix}", f"{p}_bn") for p in paths)

    def synapse(
        self,
        name: str,
        weight: str,
        norm: str | None,
        *,
        source: Source = Source.SPIKES,
        links: tuple[Synapse, ...] = (),
    ) -> Synapse:
        """A synapse of the part, wherever its weight and its batch norm lie."""
        at = (self.stage, self.block, self.tokens)
        return Synapse(name, weight, norm, self.positions, source, *at, links)

    def group(
        self,
        name: str,
        size: int,
        producers: tuple[str, ...],
        consumers: tuple[str, ...] = (),
        *,
        heads: int = 1,
        whole_heads: bool = False,
        carriers: tuple[str, ...] = (),
    ) -> ChannelGroup:
        """Channel group between synapses of the part."""
        at = (self.stage, self.block)
        return ChannelGroup(name, size, heads, producers, consumers, *at, whole_heads, carriers)

    def neurons(self, part: str, **channels: str | None) -> tuple[NeuronLayer, ...]:
        """Neuron layers of the part: their names, and the groups that their channels follow."""
        return tuple(
            NeuronLayer(f"{part}.{name}", self.stage, self.block, group, self.tokens)
            for name, group in channels.items()
        )
