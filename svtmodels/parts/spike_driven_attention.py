"""SDSA-1, the attention of Spike-Driven Transformer v1: element by element, no matrix product."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from ..declaration import AttentionKind, AttentionProduct, Declaration, NeuronLayer, Place
from .attention import ATTENTION_THRESHOLD, merge_heads, split_heads
from .chain import Chains
from .parametric_neuron import NeuronType
from .synapse import Pointwise


class SpikeDrivenAttention(Chains):
    """``x + BN(W (q * neuron(sum over tokens of k * v)))``, with q, k, v = neuron(BN(W neuron(x))).

    Channel c of q, k and v meet nothing but each other: they leave together, and heads mean
    nothing.

    Args:
        dim: channels of the residual stream.
        width: channels of q, k and v.
        neuron: type of its neurons.
    """

    def __init__(self, dim: int, width: int, neuron: NeuronType) -> None:
        super().__init__()
        self.shortcut_lif = neuron()
        for name in ("q", "k", "v"):
            self.add_chain(name, Pointwise(dim, width, False, trailing=2), neuron())
        self.talking_heads_lif = neuron(v_threshold=ATTENTION_THRESHOLD)
        self.add_synapse("proj", Pointwise(width, dim, True, trailing=2))

    def forward(self, x: Tensor) -> Tensor:
        """Membrane stream [T, B, N, D] to membrane stream."""
        seen = self.shortcut_lif(x)
        q, k, v = (self.fire(name, seen) for name in ("q", "k", "v"))
        mask = self.talking_heads_lif(self.coincidences(k, v).sum(2))
        return x + self.currents("proj", self.masked(q, mask[:, :, None]))

    def coincidences(self, k: Tensor, v: Tensor) -> Tensor:
        """Where key and value both fire, [T, B, N, C] each."""
        return k * v

    def masked(self, q: Tensor, mask: Tensor) -> Tensor:
        """Queries [T, B, N, C] of the channels that a mask [T, B, 1, C] lets through."""
        return q * mask


class ErodedAttention(SpikeDrivenAttention):
    """SDSA-1 as the official code runs it on event data ("dvs mode"), with max filters 3x3.

    Keys and values are filtered over the grid. Coincidences and masked queries are filtered over
    neighbouring tokens in raster order and neighbouring channels of a head (the official filter
    takes the last two axes of whatever it gets), so heads leave whole.

    Args:
        dim: channels of the residual stream.
        width: channels of q, k and v.
        neuron: type of its neurons.
        head: channels of one head.
        grid: height and width of the token grid.
    """

    def __init__(
        self, dim: int, width: int, neuron: NeuronType, head: int, grid: tuple[int, int]
    ) -> None:
        super().__init__(dim, width, neuron)
        self.heads = width // head
        self.grid = grid

    @override
    def coincidences(self, k: Tensor, v: Tensor) -> Tensor:
        """Where key and value both fire nearby."""
        return self._over_tokens(self._over_grid(k) * self._over_grid(v))

    @override
    def masked(self, q: Tensor, mask: Tensor) -> Tensor:
        """Masked queries, widened."""
        return self._over_tokens(q * mask)

    def _over_grid(self, x: Tensor) -> Tensor:
        maps = x.unflatten(2, self.grid).movedim(-1, 2)
        return widened(maps).movedim(2, -1).flatten(2, 3)

    def _over_tokens(self, x: Tensor) -> Tensor:
        return merge_heads(widened(split_heads(x, self.heads)))


def widened(x: Tensor) -> Tensor:
    """Maximum over 3x3 windows of the last two axes; the shape stays."""
    return F.max_pool2d(x.flatten(0, -3), 3, stride=1, padding=1).reshape(x.shape)


def declare_spike_driven_attention(
    path: str, place: Place, dim: int, heads: int, tokens: int, *, eroded: bool
) -> Declaration:
    """What an SDSA-1 at a path declares.

    Args:
        path: of the layer.
        place: where it stands.
        dim: channels of q, k and v.
        heads: number of heads.
        tokens: on the full grid.
        eroded: whether it is an `ErodedAttention`.
    """
    qkv, mask = f"{path}.qkv", f"{path}.talking_heads_lif"
    producers = tuple(f"{path}.{name}" for name in ("q", "k", "v"))
    split = heads if eroded else 1
    kind = AttentionKind.HADAMARD
    return Declaration(
        place.synapses(path, "q", "k", "v", "proj"),
        (place.group(qkv, dim, producers, (f"{path}.proj",), heads=split, whole_heads=eroded),),
        (),
        (AttentionProduct(path, tokens, split, qkv, qkv, place.tokens, kind, mask),),
        (
            *place.neurons(path, shortcut_lif=place.residual, q_lif=qkv, k_lif=qkv, v_lif=qkv),
            # One per channel, whatever the tokens.
            NeuronLayer(mask, place.stage, place.block, qkv),
        ),
        residuals=place.residuals(writes=(f"{path}.proj",), reads=producers),
    )
