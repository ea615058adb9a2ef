"""The layers of Spikformer, and where its three official files differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from typing_extensions import override

from .declaration import Source
from .parts.block import SpikeSumBlock
from .parts.mlp import Mlp
from .parts.neuron import LIF
from .parts.self_attention import SelfAttention
from .parts.stem import Pools, Stem
from .parts.synapse import pool
from .parts.tokens import TokenSelector


@dataclass(frozen=True, slots=True)
class Variant:
    """Where the three official files differ.

    Attributes:
        pools: max pooling behind stem convolutions 0..3.
        suffix: of pointwise synapses: ``q_linear`` or ``q_conv``.
        qkv_bias: whether q, k and v have a bias.
        trailing: kernel axes in the weights of (attention, mlp).
        scale: of the attention, whatever its width.
        steps: T where the constructor does not name it.
        source: what enters the first convolution.
        idle: names of parameters of the whole network that never act.
    """

    pools: Pools
    suffix: str
    qkv_bias: bool
    trailing: tuple[int, int]
    scale: float
    steps: int
    source: Source
    idle: bool = False

    @property
    def reduction(self) -> int:
        """Pixels per token along one side."""
        return 2 ** sum(self.pools)


VARIANTS: Mapping[str, Variant] = {
    "spikformer_cifar10": Variant(
        (False, False, True, True), "linear", True, (0, 0), 0.125, 4, Source.IMAGE
    ),
    "spikformer_imagenet": Variant(
        (True, True, True, True), "conv", False, (1, 2), 0.125, 4, Source.IMAGE
    ),
    "spikformer_cifar10dvs": Variant(
        (True, True, True, True), "conv", False, (1, 1), 0.25, 16, Source.EVENTS, idle=True
    ),
}


class SpikeStem(Stem):
    """SPS that pools spikes, and adds spikes for relative positions."""

    def __init__(self, pools: Pools, static: bool, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__(pools, static, channels, widths)
        self.rpe_lif = LIF()

    @override
    def finish(self, currents: Tensor) -> Tensor:
        x = self.spikes(3, currents)
        x = pool(x) if self.pools[-1] else x
        return x + self.rpe_lif(self.rpe_bn(self.rpe_conv(x)))


class Block(SpikeSumBlock):
    """``x + SSA(x)``, then ``x + MLP(x)``.

    Args:
        attention: of width `dim`.
        mlp: of width `dim`.
        selector: chooses the tokens.
        dim: channels of the residual stream.
        idle: whether to build the norms of the official state dict, which are never called.
    """

    def __init__(
        self,
        attention: SelfAttention,
        mlp: Mlp,
        selector: TokenSelector | None,
        dim: int,
        *,
        idle: bool,
    ) -> None:
        super().__init__(attention, mlp, selector)
        if idle:
            self.norm1 = nn.LayerNorm(dim)
            self.norm2 = nn.LayerNorm(dim)
