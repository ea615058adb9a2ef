"""QKFormer (NeurIPS 2024): one network for the official CIFAR, ImageNet and event-data files.

Hierarchical; residual streams hold sums of spikes (SEW). Keys and quirks: architectures 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from ..spaces.errors import BadInput
from .arguments import check_choice, check_counts, check_ratio, check_size, complete
from .build import OFFICIAL, Build
from .declaration import Declaration, Place, Source, Synapse, TokenSite
from .network import Network
from .parts.block import SpikeSumBlock
from .parts.frames import frames
from .parts.mlp import Mlp, declare_mlp
from .parts.self_attention import SelfAttention, declare_self_attention
from .parts.synapse import Pointwise
from .parts.token_attention import TokenAttention, declare_token_attention
from .qkformer_layers import PatchEmbedding, declare_embedding, embedding_widths
from .qkformer_plan import VARIANTS, Stage, Variant, stages_of

_NAME = "QKFormer"
_ARGUMENTS: Mapping[str, Any] = {
    "img_size_h": 128,
    "img_size_w": 128,
    "patch_size": 16,
    "in_channels": 2,
    "num_classes": 11,
    "embed_dims": 256,
    "num_heads": 8,
    "mlp_ratios": 4,
    "qkv_bias": False,
    "depths": 4,
    "sr_ratios": 1,
    "T": None,
    "proj_lif_over": "T",
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


class QKFormer(Network):
    """QKFormer with per-layer widths; official class and keys of the named variant.

    One argument is not official: `proj_lif_over`, the axis that the last neuron of the last
    stage's attention takes for time. "T" is clean. "TB" is what was published: there the images of
    a batch follow each other in the neuron, and logits depend on what else is in the batch; only
    published numbers need it. For single images both agree exactly.
    """

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
        self.heads: int = variant.heads or settings["num_heads"]
        self.stages = stages_of(variant, settings)
        inputs: int = settings["in_channels"]
        for stage in self.stages:
            embedding = embedding_widths(stage.plan, stage.stream, self.widths)
            self.add_module(stage.embedding, PatchEmbedding(stage.plan, inputs, embedding))
            blocks = (self._block(stage, name) for name in stage.blocks)
            self.add_module(stage.name, nn.ModuleList(blocks))
            inputs = embedding[-1]
        self.head = Pointwise(inputs, settings["num_classes"], bias=True)

    @override
    def stream(self, x: Tensor) -> Tensor:
        x, steps = frames(x, self.time_steps, self.variant.source is Source.IMAGE)
        for stage in self.stages:
            x = self.get_submodule(stage.embedding)(x, steps).flatten(2, 3)
            x = self.run_blocks(map(self.get_submodule, stage.blocks), x)
            x = x.unflatten(2, stage.grid)
        return x

    @override
    def pooled(self, stream: Tensor) -> Tensor:
        return stream.flatten(2, -2).mean(2)

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
        # A patch embedding sums two spikes, every block adds two.
        return 2 + 2 * max(len(stage.blocks) for stage in self.stages)

    @property
    @override
    def token_window(self) -> int:
        return 7

    @property
    @override
    def batch_independent(self) -> bool:
        return self.settings["proj_lif_over"] == "T"

    @property
    @override
    def input_shape(self) -> tuple[int, ...]:
        s = self.settings
        shape = (s["in_channels"], s["img_size_h"], s["img_size_w"])
        return shape if self.variant.source is Source.IMAGE else (self.trained_steps, *shape)

    @override
    def _declare(self) -> Declaration:
        parts = [part for stage in self.stages for part in self._declared(stage)]
        head = Synapse("head", "head", None, 1, Source.POOLED, "head", "head")
        read = self.stages[-1].stream.group(reads=("head",))
        return Declaration.join([*parts, Declaration((head,), residuals=read)])

    def _declared(self, stage: Stage) -> Iterator[Declaration]:
        before = self.stages[stage.number - 2].stream if stage.number > 1 else None
        source = Source.SPIKES if before else self.variant.source
        yield declare_embedding(stage.plan, stage.stream, stage.size, source, before)
        for name in stage.blocks:
            yield Declaration(tokens=(TokenSite(name, stage.tokens, stage.stream, stage.name),))
            yield from self._declared_block(stage, name)

    def _declared_block(self, stage: Stage, name: str) -> Iterator[Declaration]:
        place = Place(stage.name, name, stage.tokens, name, stream=stage.stream)
        declare = declare_self_attention if stage.last else declare_token_attention
        yield declare(f"{name}.{stage.attention}", place, stage.width, self.heads, stage.tokens)
        hidden = self._hidden(stage)
        yield declare_mlp(f"{name}.mlp", place, hidden, self.variant.mlp)

    def _hidden(self, stage: Stage) -> int:
        return int(stage.width * self.settings["mlp_ratios"])

    def _block(self, stage: Stage, name: str) -> SpikeSumBlock:
        hidden = self.width(f"{name}.mlp.hidden", self._hidden(stage))
        mlp = Mlp(self._kept_width(stage), hidden, names=self.variant.mlp)
        attention = self._attention(stage, f"{name}.{stage.attention}")
        selector = self.selector(name, stage.grid)
        return SpikeSumBlock(attention, mlp, selector, stage.attention)

    def _kept_width(self, stage: Stage) -> int:
        return self.width(stage.stream.name, stage.width)

    def _attention(self, stage: Stage, path: str) -> SelfAttention | TokenAttention:
        if not stage.last:
            q, k = (self.width(f"{path}.{name}", stage.width) for name in ("q", "k"))
            return TokenAttention(self._kept_width(stage), self.heads, q, k)
        qk, v = (self.width(f"{path}.{name}", stage.width) for name in ("qk", "v"))
        over_batch = not self.batch_independent
        return SelfAttention(self._kept_width(stage), self.heads, qk, v, over_batch=over_batch)


def _settings(variant: Variant, arguments: Mapping[str, Any]) -> dict[str, Any]:
    settings = complete(_NAME, arguments, _ARGUMENTS)
    optional = () if settings["T"] is None else ("T",)
    check_counts(_NAME, settings, (*_COUNTS, *optional))
    check_choice(_NAME, settings, "proj_lif_over", ("T", "TB"))
    check_size(settings, variant.reduction)
    height, width = settings["img_size_h"], settings["img_size_w"]
    if height != width:
        raise BadInput(f"{_NAME} takes square inputs only: got {height} x {width}.")
    fewest = sum(variant.token_blocks) + 1
    if variant.last_blocks is None and settings["depths"] < fewest:
        raise BadInput(
            f"argument depths of {_NAME}: got {settings['depths']}; give {fewest} or more."
        )
    halvings = 2 ** len(variant.token_blocks)
    heads = variant.heads or settings["num_heads"]
    unit = halvings * math.lcm(heads, max(link.share for link in variant.first.links))
    if settings["embed_dims"] % unit:
        raise BadInput(f"embed_dims {settings['embed_dims']} must be a multiple of {unit}.")
    check_ratio(settings, settings["embed_dims"] // halvings)
    return settings
