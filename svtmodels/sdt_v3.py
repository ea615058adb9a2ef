"""Spike-Driven Transformer v3, E-SpikeFormer, base file (TPAMI 2025): architectures 4.1, 4.2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import nn
from typing_extensions import override

from .configuration import Configuration
from .declaration import Declaration, Place, Source, TokenSite
from .metaformer import STEM, MetaFormer, Part, Role
from .metaformer_layers import (
    Attention,
    ConvBlock,
    Mlp,
    NeuronKind,
    declare_convolutions,
    declare_mlp,
    declare_product,
    normed,
)
from .parts.integer_neuron import IntegerNeuron
from .parts.synapse import Pointwise
from .sdt_v3_layers import (
    LEVELS,
    SPIKE_NEURONS,
    Block,
    SpikingSeparableConv,
    declare_spiking_separable,
)

ARCHITECTURE = "sdt_v3"
_VALUES = 4
"""Channels of values per channel of the residual stream."""
_STEM_KERNEL, _BLOCK_KERNEL = 7, 3
_PARTS = (
    *STEM,
    Part("block3", Role.TRANSFORMER, 3, blocks=6),
    Part("downsample4", Role.DOWNSAMPLING, 4),
    Part("block4", Role.TRANSFORMER, 4, blocks=2),
)


class ESpikeFormer(MetaFormer):
    """E-SpikeFormer, base: integer spikes of 4 levels in a single step, with per-layer widths.

    A block that processes fewer tokens skips attention and MLP for the others; its separable
    convolution, whose 3x3 part needs the whole grid, runs on all of them.
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        "img_size_h": 224,
        "img_size_w": 224,
        "in_channels": 3,
        "num_classes": 1000,
        "embed_dim": [64, 128, 256, 360],
        "num_heads": 8,
        "mlp_ratios": 4,
        # These never act.
        "patch_size": 16,
        "qkv_bias": False,
        "qk_scale": None,
        "drop_rate": 0.0,
        "attn_drop_rate": 0.0,
        "drop_path_rate": 0.0,
        "depths": 8,
        "sr_ratios": 1,
    }

    @property
    @override
    def kind(self) -> NeuronKind:
        return SPIKE_NEURONS

    @property
    @override
    def largest_spike(self) -> int:
        return LEVELS

    @override
    def input_grid(self, source: Source) -> tuple[int, int]:
        if source is Source.SPIKES:
            return LEVELS, LEVELS
        # The last neuron alone fires whole numbers.
        return (1, LEVELS) if source is Source.POOLED else super().input_grid(source)

    @override
    def _plan(self) -> tuple[Part, ...]:
        return _PARTS

    @override
    def _last_neuron(self) -> nn.Module:
        return IntegerNeuron(LEVELS, norm=1)

    @override
    def _conv_block(self, path: str, dim: int, kept: int) -> nn.Module:
        hidden = self.width(f"{path}.hidden", dim * self.settings["mlp_ratios"])
        separable = self._separable(f"{path}.Conv", dim, kept, _STEM_KERNEL)
        return ConvBlock(self.kind, kept, hidden, separable)

    def _separable(self, path: str, dim: int, kept: int, kernel: int) -> SpikingSeparableConv:
        return SpikingSeparableConv(kept, self.width(f"{path}.middle", 2 * dim), kernel)

    @override
    def _block(self, path: str, dim: int, kept: int) -> nn.Module:
        heads = self.settings["num_heads"]
        qk = self.width(f"{path}.attn.qk", dim)
        v = self.width(f"{path}.attn.v", _VALUES * dim)
        ends = {"q": (kept, qk), "k": (kept, qk), "v": (kept, v), "proj": (v, kept)}
        synapses = {
            name: normed(Pointwise(*inout, bias=False, trailing=2)) for name, inout in ends.items()
        }
        # Of the trained network's heads: it stays when channels leave.
        scale = 2 * (dim // heads) ** -0.5
        hidden = self.width(f"{path}.mlp.hidden", dim * self.settings["mlp_ratios"])
        return Block(
            self._separable(f"{path}.conv", dim, kept, _BLOCK_KERNEL),
            Attention(self.kind, heads, scale, synapses),
            Mlp(self.kind, kept, hidden),
            self.selector(path, self.token_grid),
        )

    @override
    def _declare_conv_block(self, path: str, place: Place, dim: int) -> Declaration:
        hidden = dim * self.settings["mlp_ratios"]
        return Declaration.join(
            [
                declare_spiking_separable(f"{path}.Conv", place, 2 * dim),
                declare_convolutions(path, place, self.kind, hidden),
            ]
        )

    @override
    def _declare_block(self, path: str, place: Place, dim: int) -> Declaration:
        attention, heads = f"{path}.attn", self.settings["num_heads"]
        names = [f"{attention}.{name}" for name in ("q", "k", "v", "proj")]
        fewer = replace(place, tokens=path)
        synapses = tuple(fewer.synapse(n, f"{n}_conv.0", f"{n}_conv.1") for n in names)
        return Declaration.join(
            [
                Declaration(tokens=(TokenSite(path, place.positions, place.stream, place.stage),)),
                declare_spiking_separable(f"{path}.conv", place, 2 * dim),
                Declaration(synapses),
                declare_product(attention, fewer, self.kind, heads, dim, _VALUES * dim),
                declare_mlp(f"{path}.mlp", fewer, self.kind, dim * self.settings["mlp_ratios"]),
            ]
        )


_README = "official README"
_TABLE = (
    ("Efficient_Spiking_Transformer_t", [24, 48, 96, 128], 2_702_048, None, "not published"),
    ("Efficient_Spiking_Transformer_s", [32, 64, 128, 192], 5_105_608, 75.3, "TPAMI 2025"),
    ("Efficient_Spiking_Transformer_m", [48, 96, 192, 240], 10_023_112, 78.5, _README),
    ("Efficient_Spiking_Transformer_l", [64, 128, 256, 360], 18_987_504, 79.8, _README),
)
CONFIGURATIONS: Mapping[str, Configuration] = {
    name: Configuration(
        name, ARCHITECTURE, {"embed_dim": dims}, parameters, 1, 224, accuracy, source
    )
    for name, dims, parameters, accuracy, source in _TABLE
}
"""Published networks by name."""
