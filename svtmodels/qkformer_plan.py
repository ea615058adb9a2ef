"""The layout of QKFormer's stages, and where its three official files differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .declaration import Source, Stream
from .parts.mlp import Names

_TOKEN_ATTENTION = "tssa"


@dataclass(frozen=True, slots=True)
class Link:
    """One chain of a patch embedding: a convolution 3x3, batch norm, perhaps pooling, neuron.

    Attributes:
        name: official one, ``proj3`` for ``proj3_conv``.
        share: its channels are the stage's divided by this.
        pooled: whether the map is pooled before the neuron.
    """

    name: str
    share: int = 1
    pooled: bool = False


@dataclass(frozen=True, slots=True)
class Embedding:
    """A patch embedding: links, and a shortcut 1x1 past the last of them ("deformed shortcut").

    Attributes:
        links: of the main path.
        fork: number of links before the shortcut leaves.
    """

    links: tuple[Link, ...]
    fork: int = 0

    @property
    def stride(self) -> int:
        """Of the shortcut: as much as is pooled past the fork."""
        return 2 ** sum(link.pooled for link in self.links[self.fork :])

    @property
    def reduction(self) -> int:
        """Input positions per output position along one side."""
        return 2 ** sum(link.pooled for link in self.links)


@dataclass(frozen=True, slots=True)
class Variant:
    """Where the three official files differ.

    Attributes:
        first: patch embedding of the input.
        later: patch embedding between stages.
        token_blocks: blocks with token attention in each stage but the last.
        last_blocks: blocks in the last stage; None: what remains of `depths`.
        attention: official name of the last stage's attention.
        mlp: official names of an MLP's chains.
        heads: number of heads, whatever the argument says; None: the argument.
        steps: T where the constructor does not name it.
        source: what enters the first convolution.
    """

    first: Embedding
    later: Embedding
    token_blocks: tuple[int, ...]
    last_blocks: int | None
    attention: str
    mlp: Names
    heads: int | None
    steps: int
    source: Source

    @property
    def embeddings(self) -> tuple[Embedding, ...]:
        """Patch embedding of every stage."""
        return (self.first, *(self.later for _ in self.token_blocks))

    @property
    def reduction(self) -> int:
        """Pixels per token of the last stage along one side."""
        return self.first.reduction * self.later.reduction ** len(self.token_blocks)


VARIANTS: Mapping[str, Variant] = {
    "qkformer_cifar10": Variant(
        Embedding((Link("proj", 2), Link("proj1")), fork=1),
        Embedding((Link("proj3"), Link("proj4", pooled=True))),
        token_blocks=(1, 1),
        last_blocks=None,
        attention="ssa",
        mlp=("mlp1", "mlp2"),
        heads=8,
        steps=4,
        source=Source.IMAGE,
    ),
    "qkformer_imagenet": Variant(
        Embedding((Link("proj", 2, True), Link("proj1", 1, True), Link("proj2")), fork=1),
        Embedding((Link("proj3", pooled=True), Link("proj4"))),
        token_blocks=(1, 2),
        last_blocks=None,
        attention="attn",
        mlp=("fc1", "fc2"),
        heads=None,
        steps=4,
        source=Source.IMAGE,
    ),
    "qkformer_cifar10dvs": Variant(
        Embedding(
            (
                Link("proj", 8),
                Link("proj1", 4, True),
                Link("proj2", 2, True),
                Link("proj3", 1, True),
            ),
            fork=2,
        ),
        Embedding((Link("proj"), Link("proj4", pooled=True))),
        token_blocks=(1,),
        last_blocks=1,
        attention="ssa",
        mlp=("mlp1", "mlp2"),
        heads=16,
        steps=16,
        source=Source.EVENTS,
    ),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: a patch embedding, then blocks at one resolution.

    Attributes:
        number: from 1.
        last: whether its attention is SSA; the others have token attention.
        attention: official name of the attention.
        plan: of the patch embedding.
        inputs: channels that enter.
        width: channels of its residual stream.
        size: height and width of the map that enters.
        depth: number of blocks.
    """

    number: int
    last: bool
    attention: str
    plan: Embedding
    inputs: int
    width: int
    size: tuple[int, int]
    depth: int

    @property
    def name(self) -> str:
        """Path of its blocks."""
        return f"stage{self.number}"

    @property
    def embedding(self) -> str:
        """Path of its patch embedding."""
        return f"patch_embed{self.number}"

    @property
    def blocks(self) -> tuple[str, ...]:
        """Paths of its blocks, one by one."""
        return tuple(f"{self.name}.{index}" for index in range(self.depth))

    @property
    def stream(self) -> Stream:
        """Its residual stream."""
        return Stream.behind(self.embedding, self.width, self.name)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of its token grid."""
        return self.size[0] // self.plan.reduction, self.size[1] // self.plan.reduction

    @property
    def tokens(self) -> int:
        """Number of tokens of the full grid."""
        return self.grid[0] * self.grid[1]


def stages_of(variant: Variant, settings: Mapping[str, Any]) -> tuple[Stage, ...]:
    """Stages of a network with checked constructor arguments."""
    inputs: int = settings["in_channels"]
    size = settings["img_size_h"], settings["img_size_w"]
    last = len(variant.token_blocks)
    remaining = settings["depths"] - sum(variant.token_blocks)
    depths = (*variant.token_blocks, variant.last_blocks or remaining)
    stages = []
    for index, (plan, depth) in enumerate(zip(variant.embeddings, depths, strict=True)):
        width = settings["embed_dims"] // 2 ** (last - index)
        attention = variant.attention if index == last else _TOKEN_ATTENTION
        stage = Stage(index + 1, index == last, attention, plan, inputs, width, size, depth)
        stages.append(stage)
        inputs, size = width, stage.grid
    return tuple(stages)
