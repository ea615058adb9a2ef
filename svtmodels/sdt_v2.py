"""Spike-Driven Transformer v2, Meta-SpikeFormer (ICLR 2024). Keys and quirks: architectures 3."""

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
from .parts.repconv import RepConv, declare_repconv
from .sdt_v2_layers import (
    LIF_NEURONS,
    Block,
    SeparableConv,
    declare_separable,
)

ARCHITECTURE = "sdt_v2"
_SCALE = 0.125
_SYNAPSES = ("q", "k", "v", "proj")
_PARTS = (
    *STEM,
    Part("block3", Role.TRANSFORMER, 3, blocks=6),
    Part("downsample4", Role.DOWNSAMPLING, 4),
    Part("block4", Role.TRANSFORMER, 4, blocks=2),
)


class MetaSpikeFormer(MetaFormer):
    """Meta-SpikeFormer with per-layer widths; T is an argument, where official code sets `model.T`.

    The synapses of its attentions see 3x3 neighbours: where a block processes fewer tokens, they
    still run on the whole grid, on which the other tokens fire nothing. SynOps and MACs of these
    synapses (RepConv) are those of the one 3x3 convolution that each of them amounts to, as
    event-driven hardware runs it; what is stored is the smaller chain, and bits of less than 32
    first merge it.
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        "T": 1,
        "img_size_h": 224,
        "img_size_w": 224,
        "in_channels": 3,
        "num_classes": 1000,
        "embed_dim": [128, 256, 512, 640],
        "num_heads": 8,
        "mlp_ratios": 4,
        "kd": False,
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
        return LIF_NEURONS

    @property
    @override
    def largest_spike(self) -> int:
        return 1

    @override
    def _plan(self) -> tuple[Part, ...]:
        return _PARTS

    @override
    def _last_neuron(self) -> nn.Module:
        return self.kind.make()

    @property
    @override
    def _head_source(self) -> Source:
        return Source.SPIKES

    @override
    def _conv_block(self, path: str, dim: int, kept: int) -> nn.Module:
        middle = self.width(f"{path}.Conv.middle", 2 * dim)
        hidden = self.width(f"{path}.hidden", dim * self.settings["mlp_ratios"])
        return ConvBlock(self.kind, kept, hidden, SeparableConv(kept, middle))

    @override
    def _block(self, path: str, dim: int, kept: int) -> nn.Module:
        qk = self.width(f"{path}.attn.qk", dim)
        v = self.width(f"{path}.attn.v", dim)
        ends = {"q": (kept, qk), "k": (kept, qk), "v": (kept, v), "proj": (v, kept)}
        synapses = {
            name: normed(RepConv(*inout, self.width(f"{path}.attn.{name}.middle", dim)))
            for name, inout in ends.items()
        }
        hidden = self.width(f"{path}.mlp.hidden", dim * self.settings["mlp_ratios"])
        attention = Attention(self.kind, self.settings["num_heads"], _SCALE, synapses)
        selector = self.selector(path, self.token_grid)
        return Block(attention, Mlp(self.kind, kept, hidden), selector)

    @override
    def _declare_conv_block(self, path: str, place: Place, dim: int) -> Declaration:
        hidden = dim * self.settings["mlp_ratios"]
        return Declaration.join(
            [
                declare_separable(f"{path}.Conv", place, 2 * dim),
                declare_convolutions(path, place, self.kind, hidden),
            ]
        )

    @override
    def _declare_block(self, path: str, place: Place, dim: int) -> Declaration:
        attention = f"{path}.attn"
        heads, ratio = self.settings["num_heads"], self.settings["mlp_ratios"]
        synapses = [
            declare_repconv(
                f"{attention}.{name}",
                f"{attention}.{name}_conv.0",
                f"{attention}.{name}_conv.1",
                place,
                dim,
            )
            for name in _SYNAPSES
        ]
        fewer = replace(place, tokens=path)
        return Declaration.join(
            [
                Declaration(tokens=(TokenSite(path, place.positions, place.stream, place.stage),)),
                *synapses,
                declare_product(attention, fewer, self.kind, heads, dim, dim),
                declare_mlp(f"{path}.mlp", fewer, self.kind, dim * ratio),
            ]
        )


_15M, _31M, _55M, _123M = (
    {"embed_dim": dims, "T": 4}
    for dims in (
        [64, 128, 256, 360],
        [96, 192, 384, 480],
        [128, 256, 512, 640],
        [192, 384, 768, 960],
    )
)
_KD = {"kd": True}
_PAPER = "Meta-SpikeFormer, ICLR 2024"
_DISTILLED = "Meta-SpikeFormer, ICLR 2024, distilled"
_NOT_PUBLISHED = "not published"
_TABLE = (
    ("metaspikformer_15m", _15M, 15_112_208, None, _NOT_PUBLISHED),
    ("metaspikformer_15m-kd", _15M | _KD, 15_473_208, 74.1, _DISTILLED),
    ("metaspikformer_8_384", _31M, 31_333_864, 77.2, _PAPER),
    ("metaspikformer_8_384-kd", _31M | _KD, 31_814_864, None, _NOT_PUBLISHED),
    ("metaspikformer_8_512", _55M, 55_350_248, None, _NOT_PUBLISHED),
    ("metaspikformer_8_512-kd", _55M | _KD, 55_991_248, 80.0, "official README, distilled"),
    ("metaspikformer_8_768", _123M, 123_741_160, None, _NOT_PUBLISHED),
    ("metaspikformer_8_768-kd", _123M | _KD, 124_702_160, None, _NOT_PUBLISHED),
)
CONFIGURATIONS: Mapping[str, Configuration] = {
    name: Configuration(name, ARCHITECTURE, arguments, parameters, 4, 224, accuracy, source)
    for name, arguments, parameters, accuracy, source in _TABLE
}
"""Published networks by name; ``-kd``: with the distillation head."""
