"""What an attention loses with channels of its queries and keys, which no synapse reads."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..declaration import AttentionKind
from ..network import Network
from ..parts.attention import split_heads
from .watching import Watcher


class AttentionLosses:
    """Quadratic forms of what attentions lose, by channel group.

    Without the channels R of a head, ``q (k^T v)`` lacks the sum over c in R of ``q_c (k_c^T v)``.
    Its squared norm is the sum over R x R of ``G = (Q^T Q) o (K^T V V^T K)``, without any
    approximation; means over images, sums over steps. SDSA-1 needs none: the synapse behind it
    reads each of its channels by itself. Nor has a QKTA any, whose mask asks whether any channel
    fired: by ``Q^T Q`` a QKFormer lost no less than by the norm of weights.
    """

    def __init__(self, network: Network) -> None:
        self._products = {
            product.name: product
            for product in network.declaration.attentions
            if product.kind is AttentionKind.MATRIX
        }
        self._seen: dict[str, dict[str, Tensor]] = {name: {} for name in self._products}
        self._sums: dict[str, Tensor] = {}
        self._images: dict[str, int] = {}

    def watchers(self) -> list[Watcher]:
        """What must watch the network as it runs."""
        return [
            (f"{product.name}.{part}_{product.neurons}", functools.partial(self._see, name, part))
            for name, product in self._products.items()
            for part in "qkv"
        ]

    def found(self) -> dict[str, NDArray[np.float32]]:
        """Quadratic form [heads, d, d] by the channel group of queries."""
        return {
            self._products[name].qk: (sums / self._images[name]).float().numpy()
            for name, sums in self._sums.items()
        }

    def _see(self, name: str, part: str, _: Tensor, spikes: Tensor) -> None:
        product, seen = self._products[name], self._seen[name]
        seen[part] = split_heads(spikes.detach().flatten(2, -2), product.heads)
        if len(seen) < 3:
            return
        form = _lost(seen).sum((0, 1), dtype=torch.float64)
        self._sums[name] = self._sums.get(name, 0) + form
        self._images[name] = self._images.get(name, 0) + spikes.shape[1]
        seen.clear()


def _lost(seen: dict[str, Tensor]) -> Tensor:
    """Quadratic form [T, B, heads, d, d] of spikes [T, B, heads, N, d]."""
    keys_values = seen["k"].transpose(-2, -1) @ seen["v"]
    return _gram(seen["q"]) * _gram(keys_values.transpose(-2, -1))


def _gram(x: Tensor) -> Tensor:
    return x.transpose(-2, -1) @ x
