"""Spike-Driven Transformer v3, E-SpikeFormer, large file (TPAMI 2025): architectures 4.1, 4.3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from ..spaces.errors import BadInput
from .arguments import check_choice, check_counts
from .configuration import Configuration
from .declaration import ChannelScale, Declaration, Place, Source, TokenSite
from .metaformer import STEM, MetaFormer, Part, Role
from .metaformer_layers import (
    Attention,
    Mlp,
    NeuronKind,
    declare_mlp,
    declare_product,
    normed,
)
from .parts.integer_neuron import IntegerNeuron, Rounding
from .parts.repconv import RepConv1d, declare_repconv1d
from .sdt_v3_layers import (
    LEVELS,
    LargeBlock,
    LargeConvBlock,
    declare_large_conv_block,
    half_up_neurons,
)

ARCHITECTURE = "sdt_v3_large"
_SCALE = 0.125
_MIDDLE = 1.5
"""Channels in the middle of an attention's `RepConv1d` per channel that enters."""
_TOKENS_LEVEL = 3


class ESpikeFormerLarge(MetaFormer):
    """E-SpikeFormer, large: transformer blocks of tokens, pointwise throughout.

    One argument is not official: `levels`, D of the neurons. In the official file it is a module
    constant T: 4, or 8 for the weights called "1x8". No neuron has a memory, so all steps of an
    image are alike and T changes nothing but the work.

    The classifier acts on the pooled residual stream itself; a second head, trained by
    distillation (kd), on the spikes of one more neuron.
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        "T": 1,
        "choice": None,
        "img_size_h": 224,
        "img_size_w": 224,
        "in_channels": 3,
        "num_classes": 1000,
        "nb_classes": 1000,
        "embed_dim": [196, 384, 768],
        "num_heads": 8,
        "mlp_ratios": 4,
        "sr_ratios": 1,
        "depths": 8,
        "drop_path_rate": 0.1,
        "kd": True,
        "levels": LEVELS,
        # These never act.
        "mlp_ratio": 4.0,
        "patch_size": 16,
        "qkv_bias": False,
        "qk_scale": None,
        "drop_rate": 0.0,
        "attn_drop_rate": 0.0,
    }

    @classmethod
    @override
    def complete(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        settings = super().complete(arguments)
        check_counts(cls.__name__, settings, ("nb_classes", "sr_ratios", "depths", "levels"))
        check_choice(cls.__name__, settings, "choice", (None, "base", "large"))
        rate = settings["drop_path_rate"]
        if not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise BadInput(f"drop_path_rate {rate!r} must be a number from 0 to below 1.")
        if settings["kd"] and settings["nb_classes"] != settings["num_classes"]:
            raise BadInput(
                f"nb_classes {settings['nb_classes']} (classifier) and num_classes "
                f"{settings['num_classes']} (distillation head) must be equal."
            )
        return settings

    @property
    @override
    def kind(self) -> NeuronKind:
        return half_up_neurons(self.settings["levels"])

    @property
    @override
    def classes(self) -> int:
        return self.settings["nb_classes"]

    @property
    @override
    def largest_spike(self) -> int:
        return self.settings["levels"]

    @override
    def input_grid(self, source: Source) -> tuple[int, int]:
        if source is Source.SPIKES:
            return self.largest_spike, self.largest_spike
        # The classifier sees the pooled membranes of the residual stream.
        return super().input_grid(Source.CURRENTS if source is Source.POOLED else source)

    @override
    def pooled(self, stream: Tensor) -> Tensor:
        # Convolutions leave either layout, and a mean adds up in the order of memory.
        return stream.flatten(2, -2).contiguous().mean(2)

    @override
    def _heads(self, features: Tensor) -> tuple[Tensor, ...]:
        if not self.settings["kd"]:
            return (self.head(features),)
        return self.head(features), self.head_kd(self.get_submodule("lif")(features))

    @override
    def _plan(self) -> tuple[Part, ...]:
        blocks = Part("block3", Role.TRANSFORMER, _TOKENS_LEVEL, self.settings["depths"])
        return (*STEM, blocks)

    @override
    def _arranged(self, part: Part, x: Tensor) -> Tensor:
        return x.flatten(2, 3) if part.role is Role.TRANSFORMER else x

    @override
    def _last_neuron(self) -> nn.Module | None:
        if not self.settings["kd"]:
            return None
        return IntegerNeuron(self.settings["levels"], 1, Rounding.HALF_UP)

    @override
    def _conv_block(self, path: str, dim: int, kept: int) -> nn.Module:
        hidden = self.width(f"{path}.hidden", dim * self.settings["mlp_ratios"])
        return LargeConvBlock(self.kind, kept, hidden)

    @override
    def _block(self, path: str, dim: int, kept: int) -> nn.Module:
        attention, values = f"{path}.attn", dim * self.settings["sr_ratios"]
        qk = self.width(f"{attention}.qk", dim)
        v = self.width(f"{attention}.v", values)
        ends = {"q": (kept, qk), "k": (kept, qk), "v": (kept, v), "proj": (v, kept)}
        synapses = {
            name: normed(RepConv1d(*inout, self.width(f"{attention}.{name}.middle", full)))
            for (name, inout), full in zip(ends.items(), self._middles(dim), strict=True)
        }
        middle = self.width(f"{path}.rep.middle", dim)
        hidden = self.width(f"{path}.mlp.hidden", dim * self.settings["mlp_ratios"])
        return LargeBlock(
            self.kind,
            kept,
            Attention(self.kind, self.settings["num_heads"], _SCALE, synapses),
            Mlp(self.kind, kept, hidden),
            RepConv1d(kept, kept, middle) if self._has_rep else None,
            self._drop_path(int(path.rpartition(".")[2])),
            self.selector(path, self.token_grid),
        )

    @property
    def _has_rep(self) -> bool:
        return self.settings["choice"] == "base"

    def _middles(self, dim: int) -> tuple[int, ...]:
        """Channels in the middle of q, k, v and proj; by the channels that enter."""
        enter = int(_MIDDLE * dim)
        return enter, enter, enter, int(_MIDDLE * dim * self.settings["sr_ratios"])

    def _drop_path(self, block: int) -> float:
        """Rises from 0 in the first block to the full rate in the last."""
        return self.settings["drop_path_rate"] * block / max(self.settings["depths"] - 1, 1)

    @override
    def _declare_conv_block(self, path: str, place: Place, dim: int) -> Declaration:
        return declare_large_conv_block(path, place, dim * self.settings["mlp_ratios"])

    @override
    def _declare_block(self, path: str, place: Place, dim: int) -> Declaration:
        place = replace(place, tokens=path)
        attention, s = f"{path}.attn", self.settings
        values = dim * s["sr_ratios"]
        parts = [Declaration(tokens=(TokenSite(path, place.positions, place.stream, place.stage),))]
        if self._has_rep:
            name = f"{path}.rep"
            rep = declare_repconv1d(name, f"{path}.rep_conv", None, place, dim)
            residuals = place.residuals(writes=(name,), reads=(name,))
            neurons = place.neurons(path, lif=place.residual)
            parts += [rep, Declaration(neurons=neurons, residuals=residuals)]
        for name, middle in zip(("q", "k", "v", "proj"), self._middles(dim), strict=True):
            synapse = f"{attention}.{name}"
            parts.append(
                declare_repconv1d(synapse, f"{synapse}_conv.0", f"{synapse}_conv.1", place, middle)
            )
        scales = tuple(
            ChannelScale(f"{path}.layer_scale{number}", place.residual) for number in (1, 2)
        )
        return Declaration.join(
            [
                *parts,
                declare_product(attention, place, self.kind, s["num_heads"], dim, values),
                declare_mlp(f"{path}.mlp", place, self.kind, dim * s["mlp_ratios"]),
                Declaration(scales=scales),
            ]
        )


_SMALL = {"choice": "base", "embed_dim": [128, 256, 512], "depths": 12}
_BIG = {"choice": "large", "embed_dim": [196, 384, 768], "depths": 12}
_README = "official README: best of the weights 1x4, 1x8 and 1x8 at 384x384, distilled"
_NOT_PUBLISHED = "not published"
_TABLE = (
    ("spikformer12_512", _SMALL, True, 83_015_952, 84.0, _README),
    ("spikformer12_512-no-kd", _SMALL, False, 82_502_952, None, _NOT_PUBLISHED),
    ("spikformer12_768", _BIG, True, 171_740_714, 86.2, _README),
    ("spikformer12_768-no-kd", _BIG, False, 170_971_714, None, _NOT_PUBLISHED),
)
CONFIGURATIONS: Mapping[str, Configuration] = {
    name: Configuration(
        name, ARCHITECTURE, {**arguments, "kd": kd}, parameters, 1, 224, accuracy, source
    )
    for name, arguments, kd, parameters, accuracy, source in _TABLE
}
"""Published networks by name; ``-no-kd``: without the distillation head."""
