"""Spiking self-attention (SSA) of Spikformer and QKFormer: no softmax, a constant scale."""

from __future__ import annotations

from torch import Tensor

ATTENTION_THRESHOLD = 0.5
"""Threshold of the neurons behind an attention, in all official networks."""


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[T, B, N, h*d] -> [T, B, h, N, d]; heads are contiguous groups of channels."""
    return x.unflatten(-1, (heads, -1)).transpose(2, 3)


def merge_heads(x: Tensor) -> Tensor:
    """[T, B, h, N, d] -> [T, B, N, h*d]."""
    return x.transpose(2, 3).flatten(-2)


def spiking_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, scale: float) -> Tensor:
    """``q (k^T v) * scale`` per head and step: [T, B, N, C] each, result [T, B, N, C_v].

    All values are small integers times a power of two, so any association gives the same bits;
    k^T v first costs N d^2 instead of N^2 d (architectures 1.2).
    """
    keys_values = split_heads(k, heads).transpose(-2, -1) @ split_heads(v, heads)
    return merge_heads(split_heads(q, heads) @ keys_values).mul_(scale)
