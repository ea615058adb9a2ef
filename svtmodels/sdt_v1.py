"""Spike-Driven Transformer v1 (NeurIPS 2023): one network for images and event data.

Residual streams are real-valued membranes; every synapse but the first sees spikes, the
classifier too. Keys and quirks: architectures 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from ..spaces.errors import BadInput
from .arguments import check_choice, check_counts, check_ratio, check_size, complete
from .build import OFFICIAL, Build
from .declaration import Declaration, NeuronLayer, Place, Source, Synapse, TokenSite
from .network import Network
from .parts.neuron import LIF
from .parts.parametric_neuron import NeuronType, ParametricLIF
from .parts.spike_driven_attention import (
    ErodedAttention,
    SpikeDrivenAttention,
    declare_spike_driven_attention,
)
from .parts.stem import STREAM, declare_stem, stem_stream, stem_widths
from .parts.synapse import Pointwise
from .sdt_v1_layers import (
    MembraneBlock,
    MembraneMlp,
    MembraneStem,
    add_idle,
    declare_membrane_mlp,
)

ARCHITECTURE = "sdt_v1"
_NAME = "Spike-Driven Transformer v1"
_ENCODER = "encoder"
POLARITIES = 2
"""Input channels of event data."""
_ARGUMENTS: Mapping[str, Any] = {
    "img_size_h": 128,
    "img_size_w": 128,
    "patch_size": 16,
    "in_channels": 2,
    "num_classes": 11,
    "embed_dims": 512,
    "num_heads": 8,
    "mlp_ratios": 4,
    "qkv_bias": False,
    "depths": 6,
    "sr_ratios": 1,
    "T": 4,
    "pooling_stat": "1111",
    "attn_mode": "direct_xor",
    "spike_mode": "lif",
    "dvs_mode": False,
    "TET": False,
}
_COUNTS = (
    "img_size_h",
    "img_size_w",
    "in_channels",
    "num_classes",
    "embed_dims",
    "num_heads",
    "depths",
    "T",
)
_NEURONS: Mapping[str, NeuronType] = {"lif": LIF, "plif": ParametricLIF}


class SpikeDrivenTransformer(Network):
    """Spike-Driven Transformer v1 with per-layer widths.

    Two input channels are the polarities of event data, [B, T, 2, H, W]; any other number is an
    image. `TET` trains every step's logits and changes nothing here: `per_step` gives them.
    """

    def __init__(
        self,
        architecture: str,
        arguments: Mapping[str, Any],
        build: Build = OFFICIAL,
    ) -> None:
        settings = _settings(arguments)
        steps = settings["T"]
        super().__init__(
            architecture,
            arguments,
            steps,
            build,
        )
        self.settings = settings
        self.dim: int = settings["embed_dims"]
        self.kept_dim = self.width(STREAM, self.dim)
        self.heads: int = settings["num_heads"]
        self.hidden = int(self.dim * settings["mlp_ratios"])
        self.pools = _pools(settings)
        self.source = Source.EVENTS if settings["in_channels"] == POLARITIES else Source.IMAGE
        neuron = _NEURONS[settings["spike_mode"]]
        self.patch_embed = MembraneStem(
            self.pools,
            self.source is Source.IMAGE,
            settings["in_channels"],
            stem_widths(self.dim, self.widths),
            neuron,
            idle=build.idle,
        )
        self.block = nn.ModuleList(
            self._block(f"block.{i}", neuron, idle=build.idle) for i in range(settings["depths"])
        )
        self.head_lif = neuron()
        self.head = Pointwise(self.kept_dim, settings["num_classes"], bias=True)

    @override
    def stream(self, x: Tensor) -> Tensor:
        return self.run_blocks(self.block, self.patch_embed(x, self.time_steps))

    @override
    def pooled(self, stream: Tensor) -> Tensor:
        """Spikes [T, B, D] before the classifier."""
        # Convolutions leave either layout, and a mean adds up in the order of memory.
        return self.head_lif(stream.contiguous().mean(2))

    @override
    def logits(self, features: Tensor) -> Tensor:
        # The classifier sees the spikes of every step, never their mean, which is no spike.
        return self.classifier(features).transpose(0, 1).mean(1)

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
        return 1

    @property
    @override
    def input_shape(self) -> tuple[int, ...]:
        s = self.settings
        shape = (s["in_channels"], s["img_size_h"], s["img_size_w"])
        return shape if self.source is Source.IMAGE else (self.trained_steps, *shape)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the token grid."""
        reduction = 2 ** sum(self.pools)
        return self.settings["img_size_h"] // reduction, self.settings["img_size_w"] // reduction

    @property
    def tokens(self) -> int:
        """Number of tokens of the full grid."""
        return self.grid[0] * self.grid[1]

    @override
    def _declare(self) -> Declaration:
        size = self.settings["img_size_h"], self.settings["img_size_w"]
        head = Synapse("head", "head", None, 1, Source.SPIKES, "head", "head")
        return Declaration.join(
            [
                declare_stem(self.pools, self.source, size, self.dim),
                *self._declared_blocks(),
                Declaration(
                    (head,),
                    neurons=(NeuronLayer("head_lif", "head", "head", STREAM),),
                    residuals=stem_stream(self.dim).group(reads=("head",)),
                ),
            ]
        )

    def _declared_blocks(self) -> Iterator[Declaration]:
        eroded, stream = self.settings["dvs_mode"], stem_stream(self.dim)
        for index in range(self.settings["depths"]):
            name = f"block.{index}"
            # The max filters of the event-data mode need the whole grid.
            tokens = None if eroded else name
            place = Place(_ENCODER, name, self.tokens, tokens, stream=stream)
            if not eroded:
                yield Declaration(tokens=(TokenSite(name, self.tokens, stream, _ENCODER),))
            yield declare_spike_driven_attention(
                f"{name}.attn", place, self.dim, self.heads, self.tokens, eroded=eroded
            )
            yield declare_membrane_mlp(
                f"{name}.mlp", place, self.hidden, inner_shortcut=self._inner_shortcut
            )

    @property
    def _inner_shortcut(self) -> bool:
        return self.hidden == self.dim

    def _block(self, name: str, neuron: NeuronType, *, idle: bool) -> MembraneBlock:
        attention = self._attention(self.width(f"{name}.attn.qkv", self.dim), neuron)
        if idle:
            add_idle(attention, self.heads, neuron)
        # An inner shortcut ties the channels between to those of the stream.
        tied = STREAM if self._inner_shortcut else f"{name}.mlp.hidden"
        hidden = self.width(tied, self.hidden)
        mlp = MembraneMlp(self.kept_dim, hidden, neuron, inner_shortcut=self._inner_shortcut)
        return MembraneBlock(attention, mlp, self.selector(name, self.grid))

    def _attention(self, width: int, neuron: NeuronType) -> SpikeDrivenAttention:
        if not self.settings["dvs_mode"]:
            return SpikeDrivenAttention(self.kept_dim, width, neuron)
        return ErodedAttention(self.kept_dim, width, neuron, self.dim // self.heads, self.grid)


def _settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    settings = complete(_NAME, arguments, _ARGUMENTS)
    check_counts(_NAME, settings, _COUNTS)
    check_choice(_NAME, settings, "spike_mode", _NEURONS)
    check_choice(_NAME, settings, "dvs_mode", (False, True))
    check_size(settings, 2 ** sum(_pools(settings)))
    dim, heads = settings["embed_dims"], settings["num_heads"]
    if dim % heads or dim % 8:
        raise BadInput(f"embed_dims {dim} must be a multiple of num_heads {heads} and of 8.")
    check_ratio(settings, dim)
    return settings


def _pools(settings: Mapping[str, Any]) -> tuple[bool, bool, bool, bool]:
    flags = settings["pooling_stat"]
    if not isinstance(flags, str) or len(flags) != 4 or set(flags) - set("01"):
        raise BadInput(
            f"argument pooling_stat of {_NAME}: got {flags!r}; give four flags like '0011'."
        )
    first, second, third, fourth = (flag == "1" for flag in flags)
    return first, second, third, fourth
