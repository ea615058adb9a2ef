"""SSA, the spiking self-attention of Spikformer and QKFormer, as a layer."""

from __future__ import annotations

from torch import Tensor

from ..declaration import AttentionProduct, Declaration, Place
from .attention import ATTENTION_THRESHOLD, spiking_attention
from .chain import Chains
from .neuron import LIF
from .synapse import Pointwise


class SelfAttention(Chains):
    """``LIF(BN(W LIF(q (k^T v) scale)))`` with q, k, v = ``LIF(BN(W x))``.

    Args:
        dim: channels of the residual stream.
        heads: number of heads.
        qk: channels of queries and keys.
        v: channels of values.
        scale: a constant, whatever the width.
        suffix: of the synapses.
        qkv_bias: whether q, k and v have a bias.
        trailing: kernel axes in the official weights.
        over_batch: whether the last neuron takes the images of a batch for time steps, after each
            other (QKFormer as published): its logits depend on what else is in the batch.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        qk: int,
        v: int,
        *,
        scale: float = 0.125,
        suffix: str = "conv",
        qkv_bias: bool = False,
        trailing: int = 1,
        over_batch: bool = False,
    ) -> None:
        super().__init__()
        self.suffix = suffix
        self.heads = heads
        self.scale = scale
        self.over_batch = over_batch
        for name, width in (("q", qk), ("k", qk), ("v", v)):
            self.add_chain(name, Pointwise(dim, width, qkv_bias, trailing), LIF())
        self.attn_lif = LIF(v_threshold=ATTENTION_THRESHOLD)
        self.add_chain("proj", Pointwise(v, dim, True, trailing), LIF())

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, N, D] for spike sums of the same shape."""
        q, k, v = (self.fire(name, x) for name in ("q", "k", "v"))
        mixed = self.attn_lif(spiking_attention(q, k, v, self.heads, self.scale))
        currents = self.currents("proj", mixed)
        if not self.over_batch:
            return self.spikes("proj", currents)
        chained = currents.flatten(0, 1)[:, None]
        return self.spikes("proj", chained).reshape(currents.shape)


def declare_self_attention(
    path: str, place: Place, dim: int, heads: int, tokens: int
) -> Declaration:
    """What an SSA at a path declares.

    Args:
        path: of the layer.
        place: where it stands.
        dim: channels of queries, keys and values.
        heads: number of heads.
        tokens: on the full grid.
    """
    qk, v = f"{path}.qk", f"{path}.v"
    return Declaration(
        place.synapses(path, "q", "k", "v", "proj"),
        (
            place.group(qk, dim, (f"{path}.q", f"{path}.k"), heads=heads),
            place.group(v, dim, (f"{path}.v",), (f"{path}.proj",), heads=heads),
        ),
        (),
        (AttentionProduct(path, tokens, heads, qk, v, place.tokens),),
        place.neurons(path, q_lif=qk, k_lif=qk, v_lif=v, attn_lif=v, proj_lif=place.residual),
        residuals=place.residuals(
            writes=(f"{path}.proj",), reads=(f"{path}.q", f"{path}.k", f"{path}.v")
        ),
    )
