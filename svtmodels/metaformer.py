"""The pyramid of Spike-Driven Transformer v2 and v3: convolution blocks, then transformer blocks.

Residual streams are membranes; five widths C0..C4, each its own residual stream.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn
from typing_extensions import override

from ..spaces.errors import BadInput
from .arguments import check_counts, complete
from .build import OFFICIAL, Build
from .declaration import Declaration, NeuronLayer, Place, Source, Stream, Synapse
from .metaformer_layers import DownSampling, Encoder, NeuronKind, declare_downsampling
from .network import Network
from .parts.synapse import Pointwise

_COUNTS = ("img_size_h", "img_size_w", "in_channels", "num_classes", "num_heads", "mlp_ratios")
_COARSEST = 3
"""Level from which on the map keeps its size."""


class Role(enum.Enum):
    """What a part of the pyramid is."""

    ENCODER = enum.auto()
    DOWNSAMPLING = enum.auto()
    CONVOLUTIONS = enum.auto()
    TRANSFORMER = enum.auto()


class Part(NamedTuple):
    """A part of the pyramid.

    Attributes:
        name: official.
        role: what it is.
        level: index of its width; its maps have 2^-(level + 1) of the image's height, at the
            least 1/16.
        blocks: number of its blocks.
    """

    name: str
    role: Role
    level: int
    blocks: int = 1

    @property
    def stage(self) -> str:
        """Of the network; both widths before 1/8 of the image's height are stage 1."""
        return f"stage{max(self.level, 1)}"


STEM = (
    Part("downsample1_1", Role.ENCODER, 0),
    Part("ConvBlock1_1", Role.CONVOLUTIONS, 0),
    Part("downsample1_2", Role.DOWNSAMPLING, 1),
    Part("ConvBlock1_2", Role.CONVOLUTIONS, 1),
    Part("downsample2", Role.DOWNSAMPLING, 2),
    Part("ConvBlock2_1", Role.CONVOLUTIONS, 2),
    Part("ConvBlock2_2", Role.CONVOLUTIONS, 2),
    Part("downsample3", Role.DOWNSAMPLING, 3),
)
"""From the image to the first transformer block."""


class MetaFormer(Network):
    """A pyramid of parts, which a subclass plans; official names and keys.

    The classifier runs at every step, on the spikes of the pooled residual stream, and the mean of
    its logits is taken.
    """

    defaults: ClassVar[Mapping[str, Any]]
    """Official arguments."""

    def __init__(
        self,
        architecture: str,
        arguments: Mapping[str, Any],
        build: Build = OFFICIAL,
    ) -> None:
        # `build.idle` has no effect: no parameter of these networks is.
        settings = self.complete(arguments)
        steps = settings.get("T", 1)
        super().__init__(
            architecture,
            arguments,
            steps,
            build,
        )
        self.settings = settings
        first, *others = settings["embed_dim"]
        self.dims: tuple[int, ...] = (first // 2, first, *others)
        self.parts = self._plan()
        self.kept_dims = tuple(self.width(stream.name, stream.size) for stream in self.streams)
        for part in self.parts:
            self.add_module(part.name, self._make(part))
        if (neuron := self._last_neuron()) is not None:
            self.add_module(self.kind.suffix, neuron)
        self.head = Pointwise(self.kept_dims[-1], self.classes, bias=True)
        if settings.get("kd"):
            self.head_kd = Pointwise(self.kept_dims[-1], self.classes, bias=True)

    @classmethod
    def complete(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments with all defaults filled in.

        Raises:
            BadInput: an unknown one, or one that does not fit.
        """
        settings = complete(cls.__name__, arguments, cls.defaults)
        check_counts(cls.__name__, settings, [n for n in (*_COUNTS, "T") if n in settings])
        _check_widths(cls.__name__, settings, len(cls.defaults["embed_dim"]))
        return settings

    @property
    @abc.abstractmethod
    def kind(self) -> NeuronKind:
        """Its neurons."""

    @abc.abstractmethod
    def _plan(self) -> tuple[Part, ...]:
        """Parts of the pyramid, in order."""

    @abc.abstractmethod
    def _conv_block(self, path: str, dim: int, kept: int) -> nn.Module:
        """Convolution block at a path, on a stream of `dim` channels, of which some are kept."""

    @abc.abstractmethod
    def _block(self, path: str, dim: int, kept: int) -> nn.Module:
        """Transformer block at a path, on a stream of `dim` channels, of which some are kept."""

    @abc.abstractmethod
    def _declare_conv_block(self, path: str, place: Place, dim: int) -> Declaration: ...

    @abc.abstractmethod
    def _declare_block(self, path: str, place: Place, dim: int) -> Declaration: ...

    @abc.abstractmethod
    def _last_neuron(self) -> nn.Module | None:
        """The neuron before a classifier; None if none needs it."""

    @property
    @override
    def classifier(self) -> nn.Module:
        return self.head

    @property
    @override
    def classes(self) -> int:
        return self.settings["num_classes"]

    @property
    @override
    def input_shape(self) -> tuple[int, ...]:
        s = self.settings
        return s["in_channels"], s["img_size_h"], s["img_size_w"]

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The residual stream of every level; the encoder and each downsampling open one."""
        opening = (Role.ENCODER, Role.DOWNSAMPLING)
        return tuple(
            Stream.behind(part.name, self.dims[part.level], part.stage)
            for part in self.parts
            if part.role in opening
        )

    def grid(self, level: int) -> tuple[int, int]:
        """Height and width of the maps of a level."""
        height, width = self.settings["img_size_h"], self.settings["img_size_w"]
        for _ in range(min(level, _COARSEST) + 1):
            height, width = (height + 1) // 2, (width + 1) // 2
        return height, width

    @property
    def token_grid(self) -> tuple[int, int]:
        """Height and width of the maps of the transformer blocks."""
        return self.grid(_COARSEST)

    @override
    def stream(self, x: Tensor) -> Tensor:
        encoder, *parts = self.parts
        x = self.get_submodule(encoder.name)(x, self.time_steps)
        for part in parts:
            module, x = self.get_submodule(part.name), self._arranged(part, x)
            in_blocks = part.role is Role.TRANSFORMER
            x = self.run_blocks(module.children(), x) if in_blocks else module(x)
        return x

    def _arranged(self, part: Part, x: Tensor) -> Tensor:
        """Residual stream as a part takes it."""
        return x

    @override
    def pooled(self, stream: Tensor) -> Tensor:
        # Convolutions leave either layout, and a mean adds up in the order of memory.
        pooled = stream.flatten(2, -2).contiguous().mean(2)
        return self.get_submodule(self.kind.suffix)(pooled)

    @override
    def logits(self, features: Tensor) -> Tensor:
        """Logits [B, K] of features [T, B, D]: the mean of both heads where there are two."""
        return self._by_step(features).mean(1)

    @override
    def per_step(self, x: Tensor) -> Tensor:
        """Logits of every step, [B, T, K]."""
        return self._by_step(self.features(x))

    def _by_step(self, features: Tensor) -> Tensor:
        heads = self._heads(features)
        logits = heads[0] if len(heads) == 1 else (heads[0] + heads[1]) / 2
        return logits.transpose(0, 1)

    def both_heads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, K] of the classifier, and of the head that learns from a teacher.

        The official code returns this pair in training, for its distillation loss.

        Raises:
            BadInput: the network has one head (kd=False).
        """
        heads = self._heads(self.features(x))
        if len(heads) == 1:
            raise BadInput("this network has one head; build it with kd=True for distillation.")
        return heads[0].mean(0), heads[1].mean(0)

    def _heads(self, features: Tensor) -> tuple[Tensor, ...]:
        """Logits [T, B, K] of each head."""
        if not self.settings.get("kd", False):
            return (self.head(features),)
        return self.head(features), self.head_kd(features)

    @override
    def _declare(self) -> Declaration:
        parts = [self._declare_part(part) for part in self.parts]
        names = ["head", "head_kd"] if self.settings.get("kd", False) else ["head"]
        heads = tuple(
            Synapse(name, name, None, 1, self._head_source, "head", "head") for name in names
        )
        last = self.kind.suffix
        stream = self.streams[-1]
        neuron = NeuronLayer(last, "head", "head", stream.name)
        neurons = (neuron,) if hasattr(self, last) else ()
        read = stream.group(reads=tuple(names))
        return Declaration.join([*parts, Declaration(heads, neurons=neurons, residuals=read)])

    @property
    def _head_source(self) -> Source:
        return Source.POOLED

    def _make(self, part: Part) -> nn.Module:
        dim, kept = self.dims[part.level], self.kept_dims[part.level]
        paths = [f"{part.name}.{i}" for i in range(part.blocks)]
        match part.role:
            case Role.ENCODER:
                return Encoder(self.settings["in_channels"], kept)
            case Role.DOWNSAMPLING:
                stride = 2 if part.level <= _COARSEST else 1
                return DownSampling(self.kind, self.kept_dims[part.level - 1], kept, stride)
            case Role.CONVOLUTIONS:
                return nn.Sequential(*(self._conv_block(path, dim, kept) for path in paths))
            case Role.TRANSFORMER:
                return nn.Sequential(*(self._block(path, dim, kept) for path in paths))

    def _declare_part(self, part: Part) -> Declaration:
        height, width = self.grid(part.level)
        dim, at, stream = self.dims[part.level], height * width, self.streams[part.level]
        places = {
            f"{part.name}.{i}": Place(part.stage, f"{part.name}.{i}", at, stream=stream)
            for i in range(part.blocks)
        }
        alone = Place(part.stage, part.name, at, stream=stream)
        match part.role:
            case Role.ENCODER:
                encode = f"{part.name}.encode"
                first = alone.synapse(encode, f"{encode}_conv", f"{encode}_bn", source=Source.IMAGE)
                return Declaration((first,), residuals=alone.residuals(writes=(encode,)))
            case Role.DOWNSAMPLING:
                before = self.streams[part.level - 1]
                return declare_downsampling(part.name, alone, self.kind, before)
            case Role.CONVOLUTIONS:
                blocks = [self._declare_conv_block(path, p, dim) for path, p in places.items()]
                return Declaration.join(blocks)
            case Role.TRANSFORMER:
                blocks = [self._declare_block(path, p, dim) for path, p in places.items()]
                return Declaration.join(blocks)


def _check_widths(network: str, settings: Mapping[str, Any], count: int) -> None:
    dims, heads = settings["embed_dim"], settings["num_heads"]
    whole = isinstance(dims, list | tuple) and all(type(d) is int and d > 1 for d in dims)
    if not whole or len(dims) != count:
        raise BadInput(
            f"argument embed_dim of {network}: got {dims!r}; give {count} whole numbers from 2."
        )
    uneven = [dim for dim in dims[2:] if dim % heads]
    if uneven:
        raise BadInput(f"embed_dim {uneven[0]} must be a multiple of num_heads {heads}.")
