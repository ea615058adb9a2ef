"""The layers of Spikformer: stem, attention, mlp and block, for its three official files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from .declaration import Source
from .parts.attention import spiking_attention
from .parts.neuron import LIF
from .parts.synapse import ChannelNorm, Conv, Pointwise, pool
from .parts.tokens import TokenSelector, gather_tokens, scatter_tokens

_ATTENTION_THRESHOLD = 0.5


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

    pools: tuple[bool, bool, bool, bool]
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


class Stem(nn.Module):
    """SPS: five convolutions 3x3, each with batch norm and neuron; image to tokens."""

    def __init__(self, variant: Variant, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.pools = variant.pools
        self.static = variant.source is Source.IMAGE
        for index, width in enumerate(widths):
            number = str(index or "")
            setattr(self, f"proj_conv{number}", Conv(channels, width, 3))
            setattr(self, f"proj_bn{number}", ChannelNorm(width))
            setattr(self, f"proj_lif{number}", LIF())
            channels = width
        self.rpe_conv = Conv(channels, channels, 3)
        self.rpe_bn = ChannelNorm(channels)
        self.rpe_lif = LIF()

    def forward(self, x: Tensor, steps: int) -> Tensor:
        """Tokens [T, B, N, D] of images [B, C, H, W] or frames [B, T, C, H, W]."""
        x = self._first(x, steps)
        for index, pooled in enumerate(self.pools):
            number = str(index or "")
            if index:
                x = self.get_submodule(f"proj_conv{number}")(x)
                x = self.get_submodule(f"proj_bn{number}")(x)
            x = self.get_submodule(f"proj_lif{number}")(x)
            x = pool(x) if pooled else x
        x = x + self.rpe_lif(self.rpe_bn(self.rpe_conv(x)))
        return x.flatten(2, 3)

    def _first(self, x: Tensor, steps: int) -> Tensor:
        """Input currents [T, B, H, W, C] of the first neurons."""
        convolution, norm = self.get_submodule("proj_conv"), self.get_submodule("proj_bn")
        if not self.static:
            return norm(convolution(x[:, :steps].permute(1, 0, 3, 4, 2)))
        currents = norm(convolution(x.permute(0, 2, 3, 1)))
        # A static image gives the same currents at every step: computed once, exact.
        return currents.expand(steps, *currents.shape)


class Attention(nn.Module):
    """SSA: spiking self-attention."""

    def __init__(self, variant: Variant, dim: int, heads: int, qk: int, v: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = variant.scale
        self.suffix = variant.suffix
        trailing = variant.trailing[0]
        for name, width in (("q", qk), ("k", qk), ("v", v)):
            synapse = Pointwise(dim, width, variant.qkv_bias, trailing)
            self.add_module(f"{name}_{variant.suffix}", synapse)
            self.add_module(f"{name}_bn", ChannelNorm(width))
            self.add_module(f"{name}_lif", LIF())
        self.attn_lif = LIF(v_threshold=_ATTENTION_THRESHOLD)
        self.add_module(f"proj_{variant.suffix}", Pointwise(v, dim, True, trailing))
        self.proj_bn = ChannelNorm(dim)
        self.proj_lif = LIF()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, N, D] for spike sums of the same shape."""
        q, k, v = (self._fire(name, x) for name in ("q", "k", "v"))
        mixed = self.attn_lif(spiking_attention(q, k, v, self.heads, self.scale))
        return self._fire("proj", mixed)

    def _fire(self, name: str, x: Tensor) -> Tensor:
        currents = self.get_submodule(f"{name}_bn")(self.get_submodule(f"{name}_{self.suffix}")(x))
        return self.get_submodule(f"{name}_lif")(currents)


class Mlp(nn.Module):
    """Two pointwise synapses with neurons."""

    def __init__(self, variant: Variant, dim: int, hidden: int) -> None:
        super().__init__()
        self.suffix = variant.suffix
        trailing = variant.trailing[1]
        self.add_module(f"fc1_{variant.suffix}", Pointwise(dim, hidden, True, trailing))
        self.fc1_bn = ChannelNorm(hidden)
        self.fc1_lif = LIF()
        self.add_module(f"fc2_{variant.suffix}", Pointwise(hidden, dim, True, trailing))
        self.fc2_bn = ChannelNorm(dim)
        self.fc2_lif = LIF()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, N, D] for spike sums of the same shape."""
        x = self.fc1_lif(self.fc1_bn(self.get_submodule(f"fc1_{self.suffix}")(x)))
        return self.fc2_lif(self.fc2_bn(self.get_submodule(f"fc2_{self.suffix}")(x)))


class Block(nn.Module):
    """``x + SSA(x)``, then ``x + MLP(x)``; a token that is not kept skips both."""

    def __init__(self, attention: Attention, mlp: Mlp, dim: int, *, idle: bool) -> None:
        super().__init__()
        self.selector: TokenSelector | None = None
        if idle:  # In the official state dict, never called.
            self.norm1 = nn.LayerNorm(dim)
            self.norm2 = nn.LayerNorm(dim)
        self.attn = attention
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        """Spike sums [T, B, N, D] to spike sums."""
        if self.selector is None:
            return self._process(x)
        kept = self.selector(x)
        return scatter_tokens(x, kept, self._process(gather_tokens(x, kept)))

    def _process(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)
