"""QKTA, the token attention of QKFormer's first stages: a mask over tokens, linear in them."""

from __future__ import annotations

from torch import Tensor

from ..declaration import AttentionKind, AttentionProduct, Declaration, Place
from .attention import ATTENTION_THRESHOLD
from .chain import Chains
from .neuron import LIF
from .synapse import Pointwise


class TokenAttention(Chains):
    """``LIF(BN(W mask * k))``, mask = ``LIF(sum over a head's channels of q)`` per token and head.

    Args:
        dim: channels of the residual stream.
        heads: number of heads.
        q: channels of queries; they are only summed, so they are free of all others.
        k: channels of keys.
    """

    def __init__(self, dim: int, heads: int, q: int, k: int) -> None:
        super().__init__()
        self.heads = heads
        for name, width in (("q", q), ("k", k)):
            self.add_chain(name, Pointwise(dim, width, False, trailing=1), LIF())
        self.attn_lif = LIF(v_threshold=ATTENTION_THRESHOLD)
        self.add_chain("proj", Pointwise(k, dim, True, trailing=1), LIF())

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, N, D] for spike sums of the same shape."""
        q, k = (self.fire(name, x).unflatten(-1, (self.heads, -1)) for name in ("q", "k"))
        mask = self.attn_lif(q.sum(-1))
        return self.fire("proj", (mask[..., None] * k).flatten(-2))


def declare_token_attention(
    path: str, place: Place, dim: int, heads: int, tokens: int
) -> Declaration:
    """What a QKTA at a path declares.

    Args:
        path: of the layer.
        place: where it stands.
        dim: channels of queries and keys.
        heads: number of heads.
        tokens: on the full grid.
    """
    q, k, mask = f"{path}.q", f"{path}.k", f"{path}.attn_lif"
    product = AttentionProduct(path, tokens, heads, q, k, place.tokens, AttentionKind.TOKEN, mask)
    return Declaration(
        place.synapses(path, "q", "k", "proj"),
        (
            place.group(q, dim, (q,), heads=heads),
            place.group(k, dim, (k,), (f"{path}.proj",), heads=heads),
        ),
        (),
        (product,),
        # The mask's neurons [T, B, N, heads] have a head where others have a channel: none leaves.
        place.neurons(path, q_lif=q, k_lif=k, attn_lif=None, proj_lif=place.residual),
        residuals=place.residuals(writes=(f"{path}.proj",), reads=(q, k)),
    )
