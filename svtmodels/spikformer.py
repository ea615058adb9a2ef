"""Spikformer (ICLR 2023): one network for the official CIFAR, ImageNet and DVS files.

Residual streams hold sums of spikes (SEW). Keys and quirks: architectures 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from ..spaces.errors import BadInput
from .arguments import check_counts, check_ratio, check_size, complete
from .build import OFFICIAL, Build
from .declaration import Declaration, NeuronLayer, Place, Source, Synapse, TokenSite
from .network import Network
from .parts.mlp import Mlp, declare_mlp
from .parts.self_attention import SelfAttention, declare_self_attention
from .parts.stem import STEM, STREAM, declare_stem, stem_stream, stem_widths
from .parts.synapse import Pointwise
from .spikformer_layers import VARIANTS, Block, SpikeStem, Variant

_NAME = "Spikformer"
_ENCODER = "encoder"
_ARGUMENTS: Mapping[str, Any] = {
    "img_size_h": 32,
    "img_size_w": 32,
    "patch_size": 4,
    "in_channels": 3,
    "num_classes": 10,
    "embed_dims": 384,
    "num_heads": 12,
    "mlp_ratios": 4,
    "qkv_bias": False,
    "depths": 4,
    "sr_ratios": 1,
    "T": None,
}
_COUNTS = (
    "img_size_h",
    "img_size_w",
    "in_channels",
    "num_classes",
    "embed_dims",
    "num_heads",
    "depths",
)


class Spikformer(Network):
    """Spikformer with per-layer widths; official class and keys of the named variant."""

    def __init__(
        self,
        architecture: str,
        arguments: Mapping[str, Any],
        build: Build = OFFICIAL,
    ) -> None:
        variant = VARIANTS[architecture]
        settings = _settings(variant, arguments)
        steps = settings["T"] or variant.steps
        super().__init__(
            architecture,
            arguments,
            steps,
            build,
        )
        self.variant = variant
        self.settings = settings
        self.dim: int = settings["embed_dims"]
        self.kept_dim = self.width(STREAM, self.dim)
        self.patch_embed = SpikeStem(
            variant.pools,
            variant.source is Source.IMAGE,
            settings["in_channels"],
            stem_widths(self.dim, self.widths),
        )
        if build.idle and variant.idle:  # In the official state dict, never used.
            self.pos_embed = nn.Parameter(torch.zeros(1, self.tokens, self.dim))
            self.norm = nn.LayerNorm(self.dim)
        self.block = nn.ModuleList(
            self._block(f"block.{i}", idle=build.idle) for i in range(settings["depths"])
        )
        self.head = Pointwise(self.kept_dim, settings["num_classes"], bias=True)

    @override
    def stream(self, x: Tensor) -> Tensor:
        return self.run_blocks(self.block, self.patch_embed(x, self.time_steps))

    @override
    def pooled(self, stream: Tensor) -> Tensor:
        return stream.mean(2)

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
    def largest_spike(self) -> int:
        # The stem sums two spikes, every block adds two.
        return 2 + 2 * self.settings["depths"]

    @property
    @override
    def input_shape(self) -> tuple[int, ...]:
        s = self.settings
        shape = (s["in_channels"], s["img_size_h"], s["img_size_w"])
        return shape if self.variant.source is Source.IMAGE else (self.trained_steps, *shape)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the token grid."""
        reduction = self.variant.reduction
        return self.settings["img_size_h"] // reduction, self.settings["img_size_w"] // reduction

    @property
    def tokens(self) -> int:
        """Number of tokens of the full grid."""
        return self.grid[0] * self.grid[1]

    @override
    def _declare(self) -> Declaration:
        size = self.settings["img_size_h"], self.settings["img_size_w"]
        head = Synapse("head", "head", None, 1, Source.POOLED, "head", "head")
        read = stem_stream(self.dim).group(reads=("head",))
        return Declaration.join(
            [
                declare_stem(self.variant.pools, self.variant.source, size, self.dim),
                Declaration(neurons=(NeuronLayer(f"{STEM}.rpe_lif", STEM, STEM, STREAM),)),
                *self._declared_blocks(),
                Declaration((head,), residuals=read),
            ]
        )

    def _declared_blocks(self) -> Iterator[Declaration]:
        heads, stream = self.settings["num_heads"], stem_stream(self.dim)
        for index in range(self.settings["depths"]):
            name = f"block.{index}"
            place = Place(_ENCODER, name, self.tokens, name, self.variant.suffix, stream=stream)
            yield Declaration(tokens=(TokenSite(name, self.tokens, stream, _ENCODER),))
            yield declare_self_attention(f"{name}.attn", place, self.dim, heads, self.tokens)
            yield declare_mlp(f"{name}.mlp", place, self._hidden)

    @property
    def _hidden(self) -> int:
        return int(self.dim * self.settings["mlp_ratios"])

    def _block(self, name: str, *, idle: bool) -> Block:
        variant = self.variant
        attention = SelfAttention(
            self.kept_dim,
            self.settings["num_heads"],
            self.width(f"{name}.attn.qk", self.dim),
            self.width(f"{name}.attn.v", self.dim),
            scale=variant.scale,
            suffix=variant.suffix,
            qkv_bias=variant.qkv_bias,
            trailing=variant.trailing[0],
        )
        hidden = self.width(f"{name}.mlp.hidden", self._hidden)
        mlp = Mlp(self.kept_dim, hidden, suffix=variant.suffix, trailing=variant.trailing[1])
        selector = self.selector(name, self.grid)
        return Block(attention, mlp, selector, self.dim, idle=idle)


def _settings(variant: Variant, arguments: Mapping[str, Any]) -> dict[str, Any]:
    settings = complete(_NAME, arguments, _ARGUMENTS)
    optional = () if settings["T"] is None else ("T",)
    check_counts(_NAME, settings, (*_COUNTS, *optional))
    check_size(settings, variant.reduction)
    dim, heads = settings["embed_dims"], settings["num_heads"]
    if dim % heads or dim % 8:
        raise BadInput(f"embed_dims {dim} must be a multiple of num_heads {heads} and of 8.")
    check_ratio(settings, dim)
    return settings
