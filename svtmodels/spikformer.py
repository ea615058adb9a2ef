"""Spikformer (ICLR 2023): one network for the official CIFAR, ImageNet and DVS files.

Residual streams hold sums of spikes (SEW). Keys and quirks: architectures 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from ..spaces.errors import BadInput, unknown_name
from .declaration import (
    AttentionProduct,
    ChannelGroup,
    Declaration,
    NeuronLayer,
    Source,
    Synapse,
    TokenSite,
)
from .network import Network
from .parts.synapse import Pointwise
from .parts.tokens import TokenSelector
from .spikformer_layers import VARIANTS, Attention, Block, Mlp, Stem, Variant

_STEM = "patch_embed"
_ENCODER = "encoder"
_STEM_CONVS = ("proj_conv", "proj_conv1", "proj_conv2", "proj_conv3", "rpe_conv")
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
        *,
        widths: Mapping[str, int] | None = None,
        kept_tokens: Mapping[str, int] | None = None,
        idle: bool = True,
    ) -> None:
        variant = VARIANTS[architecture]
        settings = _settings(variant, arguments)
        steps = settings["T"] or variant.steps
        super().__init__(architecture, arguments, steps, widths=widths, kept_tokens=kept_tokens)
        self.variant = variant
        self.settings = settings
        self.dim: int = settings["embed_dims"]
        self.patch_embed = Stem(variant, settings["in_channels"], self._stem_widths())
        if idle and variant.idle:  # In the official state dict, never used.
            self.pos_embed = nn.Parameter(torch.zeros(1, self.tokens, self.dim))
            self.norm = nn.LayerNorm(self.dim)
        self.block = nn.ModuleList(self._block(i, idle) for i in range(settings["depths"]))
        self.head = Pointwise(self.dim, settings["num_classes"], bias=True)

    @classmethod
    @override
    def from_official(
        cls,
        architecture: str,
        arguments: Mapping[str, Any],
        *,
        widths: Mapping[str, int] | None = None,
        kept_tokens: Mapping[str, int] | None = None,
        idle: bool = True,
    ) -> Self:
        return cls(architecture, arguments, widths=widths, kept_tokens=kept_tokens, idle=idle)

    @override
    def features(self, x: Tensor) -> Tensor:
        self.check_input(x)
        x = self.patch_embed(x, self.time_steps)
        for block in self.block:
            x = block(x)
        return x.mean(2)

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
        blocks = range(self.settings["depths"])
        synapses = [*self._stem_synapses()]
        groups = [
            ChannelGroup(f"{_STEM}.{a}.out", w, 1, (f"{_STEM}.{a}",), (f"{_STEM}.{b}",), *_AT_STEM)
            for a, b, w in zip(_STEM_CONVS[:3], _STEM_CONVS[1:4], self._full_stem(), strict=False)
        ]
        neurons = [
            NeuronLayer(f"{_STEM}.proj_lif{i or ''}", groups[i].name if i < 3 else None)
            for i in range(4)
        ]
        neurons.append(NeuronLayer(f"{_STEM}.rpe_lif"))
        for i in blocks:
            synapses += self._block_synapses(i)
            groups += self._block_groups(i)
            neurons += _block_neurons(f"block.{i}")
        synapses.append(Synapse("head", "head", None, 1, Source.POOLED, "head", "head"))
        heads = self.settings["num_heads"]
        return Declaration(
            tuple(synapses),
            tuple(groups),
            tuple(TokenSite(f"block.{i}", self.tokens, self.dim, _ENCODER) for i in blocks),
            tuple(
                AttentionProduct(
                    f"block.{i}.attn",
                    self.tokens,
                    heads,
                    f"block.{i}.attn.qk",
                    f"block.{i}.attn.v",
                    f"block.{i}",
                )
                for i in blocks
            ),
            tuple(neurons),
        )

    def _full_stem(self) -> tuple[int, int, int, int]:
        return self.dim // 8, self.dim // 4, self.dim // 2, self.dim

    def _stem_widths(self) -> tuple[int, ...]:
        names = [f"{_STEM}.{name}.out" for name in _STEM_CONVS[:4]]
        return tuple(self.widths.get(n, w) for n, w in zip(names, self._full_stem(), strict=True))

    def _block(self, index: int, idle: bool) -> Block:
        name, heads = f"block.{index}", self.settings["num_heads"]
        hidden = int(self.dim * self.settings["mlp_ratios"])
        qk = self.widths.get(f"{name}.attn.qk", self.dim)
        v = self.widths.get(f"{name}.attn.v", self.dim)
        attention = Attention(self.variant, self.dim, heads, qk, v)
        mlp = Mlp(self.variant, self.dim, self.widths.get(f"{name}.mlp.hidden", hidden))
        block = Block(attention, mlp, self.dim, idle=idle)
        if name in self.kept_tokens:
            block.selector = TokenSelector(self.kept_tokens[name], self.grid)
        return block

    def _stem_synapses(self) -> list[Synapse]:
        height, width = self.settings["img_size_h"], self.settings["img_size_w"]
        synapses = []
        for name, pooled in zip(_STEM_CONVS, (*self.variant.pools, False), strict=True):
            path = f"{_STEM}.{name}"
            source = Source.SPIKES if synapses else self.variant.source
            norm = path.replace("conv", "bn")
            synapses.append(Synapse(path, path, norm, height * width, source, *_AT_STEM))
            if pooled:
                height, width = height // 2, width // 2
        return synapses

    def _block_synapses(self, index: int) -> list[Synapse]:
        block = f"block.{index}"
        parts = [("attn", name) for name in ("q", "k", "v", "proj")]
        parts += [("mlp", "fc1"), ("mlp", "fc2")]
        return [
            Synapse(
                f"{block}.{part}.{name}",
                f"{block}.{part}.{name}_{self.variant.suffix}",
                f"{block}.{part}.{name}_bn",
                self.tokens,
                Source.SPIKES,
                _ENCODER,
                block,
                tokens=block,
            )
            for part, name in parts
        ]

    def _block_groups(self, index: int) -> list[ChannelGroup]:
        block, heads = f"block.{index}", self.settings["num_heads"]
        attn, mlp = f"{block}.attn", f"{block}.mlp"
        hidden = int(self.dim * self.settings["mlp_ratios"])
        at = (_ENCODER, block)
        return [
            ChannelGroup(f"{attn}.qk", self.dim, heads, (f"{attn}.q", f"{attn}.k"), (), *at),
            ChannelGroup(f"{attn}.v", self.dim, heads, (f"{attn}.v",), (f"{attn}.proj",), *at),
            ChannelGroup(f"{mlp}.hidden", hidden, 1, (f"{mlp}.fc1",), (f"{mlp}.fc2",), *at),
        ]


_AT_STEM = (_STEM, _STEM)


def _block_neurons(block: str) -> list[NeuronLayer]:
    qk, v, hidden = f"{block}.attn.qk", f"{block}.attn.v", f"{block}.mlp.hidden"
    followed = {
        "attn.q_lif": qk,
        "attn.k_lif": qk,
        "attn.v_lif": v,
        "attn.attn_lif": v,
        "attn.proj_lif": None,
        "mlp.fc1_lif": hidden,
        "mlp.fc2_lif": None,
    }
    return [NeuronLayer(f"{block}.{name}", group, block) for name, group in followed.items()]


def _settings(variant: Variant, arguments: Mapping[str, Any]) -> dict[str, Any]:
    for name in arguments:
        if name not in _ARGUMENTS:
            raise unknown_name("argument of Spikformer", name, _ARGUMENTS)
    settings = {**_ARGUMENTS, **arguments}
    for name in _COUNTS:
        _check_count(name, settings[name])
    if settings["T"] is not None:
        _check_count("T", settings["T"])
    for name in ("img_size_h", "img_size_w"):
        if settings[name] % variant.reduction:
            raise BadInput(f"{name} {settings[name]} must be a multiple of {variant.reduction}.")
    dim, heads = settings["embed_dims"], settings["num_heads"]
    if dim % heads or dim % 8:
        raise BadInput(f"embed_dims {dim} must be a multiple of num_heads {heads} and of 8.")
    ratio = settings["mlp_ratios"]
    if not isinstance(ratio, int | float) or not 1 <= dim * ratio < math.inf:
        raise BadInput(f"mlp_ratios {ratio!r} must be a number that leaves at least one channel.")
    return settings


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadInput(f"argument {name} of Spikformer: got {value!r}; give a whole number from 1.")
