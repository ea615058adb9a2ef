"""SPS, the stem of Spikformer and Spike-Driven Transformer v1: an image to tokens."""

from __future__ import annotations

import abc
from collections.abc import Mapping

from torch import Tensor, nn

from ..declaration import ChannelGroup, Declaration, NeuronLayer, Source, Stream, Synapse
from .frames import frames, repeat
from .neuron import LIF
from .parametric_neuron import NeuronType
from .synapse import ChannelNorm, Conv, pool

STEM = "patch_embed"
STREAM = f"{STEM}.out"
"""Channel group of the residual stream that a stem opens."""
_CONVS = ("proj_conv", "proj_conv1", "proj_conv2", "proj_conv3", "rpe_conv")
_LAST = 3

Pools = tuple[bool, bool, bool, bool]
"""Max pooling at the convolutions 0..3."""


class Stem(nn.Module, abc.ABC):
    """Five convolutions 3x3, the last of which adds relative positions; each with batch norm.

    Three of them fire and are pooled alike in all networks; what becomes of the fourth's currents
    is the subclass's.

    Args:
        pools: where the map is pooled.
        static: whether it sees images, not frames of events.
        channels: of the input.
        widths: of the convolutions 0..3.
        neuron: type of its neurons.
    """

    def __init__(
        self,
        pools: Pools,
        static: bool,
        channels: int,
        widths: tuple[int, ...],
        neuron: NeuronType = LIF,
    ) -> None:
        super().__init__()
        self.pools = pools
        self.static = static
        for index, width in enumerate(widths):
            number = str(index or "")
            self.add_module(f"proj_conv{number}", Conv(channels, width, 3))
            self.add_module(f"proj_bn{number}", ChannelNorm(width))
            self.add_module(f"proj_lif{number}", neuron())
            channels = width
        self.rpe_conv = Conv(channels, channels, 3)
        self.rpe_bn = ChannelNorm(channels)

    def forward(self, x: Tensor, steps: int) -> Tensor:
        """Tokens [T, B, N, D] of images [B, C, H, W] or frames [B, T, C, H, W]."""
        x, steps = frames(x, steps, self.static)
        for index in range(_LAST):
            x = self.spikes(index, repeat(self._currents(index, x), steps))
            x = pool(x) if self.pools[index] else x
        return self.finish(self._currents(_LAST, x)).flatten(2, 3)

    @abc.abstractmethod
    def finish(self, currents: Tensor) -> Tensor:
        """Residual stream [T, B, h, w, D] of the fourth convolution's currents [T, B, H, W, D]."""

    def spikes(self, index: int, currents: Tensor) -> Tensor:
        """Spikes of the neurons behind a convolution."""
        return self.get_submodule(f"proj_lif{index or ''}")(currents)

    def _currents(self, index: int, x: Tensor) -> Tensor:
        x = self.get_submodule(f"proj_conv{index or ''}")(x)
        return self.get_submodule(f"proj_bn{index or ''}")(x)


def stem_widths(dim: int, widths: Mapping[str, int]) -> tuple[int, ...]:
    """Channels of the convolutions 0..3 where some groups were made smaller."""
    full = _full_widths(dim)
    return tuple(widths.get(_group(i), width) for i, width in enumerate(full))


def stem_stream(dim: int) -> Stream:
    """The residual stream of so many channels that a stem opens."""
    return Stream.behind(STEM, dim, STEM)


def declare_stem(pools: Pools, source: Source, size: tuple[int, int], dim: int) -> Declaration:
    """What a stem declares, but for neurons of its relative positions.

    The neurons before those see what the stream began with: their channels are the stream's.

    Args:
        pools: where the map is pooled.
        source: what enters the first convolution.
        size: height and width of the input.
        dim: channels of the residual stream.
    """
    groups = tuple(
        ChannelGroup(_group(i), width, 1, (_path(i),), (_path(i + 1),), STEM, STEM)
        for i, width in enumerate(_full_widths(dim)[:_LAST])
    )
    neurons = tuple(
        NeuronLayer(f"{STEM}.proj_lif{i or ''}", STEM, STEM, _group(i)) for i in range(_LAST + 1)
    )
    last, positions = _path(_LAST), _path(_LAST + 1)
    stream = stem_stream(dim).group(writes=(last, positions), reads=(positions,))
    synapses = _synapses(pools, source, size)
    return Declaration(synapses, groups, neurons=neurons, residuals=stream)


def _synapses(pools: Pools, source: Source, size: tuple[int, int]) -> tuple[Synapse, ...]:
    height, width = size
    synapses = []
    for index, pooled in enumerate((*pools, False)):
        norm = _path(index).replace("conv", "bn")
        positions = height * width
        sees = Source.SPIKES if index else source
        synapses.append(Synapse(_path(index), _path(index), norm, positions, sees, STEM, STEM))
        if pooled:
            height, width = height // 2, width // 2
    return tuple(synapses)


def _full_widths(dim: int) -> tuple[int, int, int, int]:
    return dim // 8, dim // 4, dim // 2, dim


def _path(index: int) -> str:
    return f"{STEM}.{_CONVS[index]}"


def _group(index: int) -> str:
    return f"{_path(index)}.out" if index < _LAST else STREAM
