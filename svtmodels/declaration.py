"""What a network declares about itself, so that surgery, costs and traces need no tracing."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Source(enum.StrEnum):
    """What enters a synapse."""

    IMAGE = "image"
    """A real-valued image, the same at every step: one evaluation serves all steps."""
    EVENTS = "events"
    """Event counts, new at every step."""
    SPIKES = "spikes"
    """Spikes or sums of spikes: small integers."""
    POOLED = "pooled"
    """Spike sums averaged over tokens and steps, once per image."""


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
    """

    name: str
    weight: str
    norm: str | None
    positions: int
    source: Source
    stage: str
    block: str
    tokens: str | None = None


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
    """

    name: str
    size: int
    heads: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    stage: str
    block: str


@dataclass(frozen=True, slots=True)
class TokenSite:
    """A block that may process fewer tokens.

    Attributes:
        name: of the site, the path of the block.
        tokens: on the full grid.
        channels: of the residual stream that is scored.
        stage: of the network.
    """

    name: str
    tokens: int
    channels: int
    stage: str


@dataclass(frozen=True, slots=True)
class AttentionProduct:
    """The two matrix products of an attention: q (k^T v).

    Attributes:
        name: path of the attention.
        tokens: on the full grid.
        heads: number of heads.
        qk: channel group of queries and keys.
        v: channel group of values.
        site: token site that reduces the tokens.
    """

    name: str
    tokens: int
    heads: int
    qk: str
    v: str
    site: str


@dataclass(frozen=True, slots=True)
class NeuronLayer:
    """A layer of neurons, fed by [T, B, ..., C].

    Attributes:
        name: path of the neuron.
        channels: channel group that its channels follow; None if they cannot leave.
        tokens: token site that its positions follow; None if they cannot leave.
    """

    name: str
    channels: str | None = None
    tokens: str | None = None


@dataclass(frozen=True, slots=True)
class Declaration:
    """Everything that can be compressed, in the order in which signals pass."""

    synapses: tuple[Synapse, ...]
    channels: tuple[ChannelGroup, ...]
    tokens: tuple[TokenSite, ...]
    attentions: tuple[AttentionProduct, ...]
    neurons: tuple[NeuronLayer, ...]
