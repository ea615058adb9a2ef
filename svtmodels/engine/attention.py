"""What attentions compute between their synapses: spikes of queries, keys and values to spikes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import structs
from .context import Buffer, Context
from .neurons import SpikesOut, neuron_struct
from .rows import Form, Rows


class _AttentionRun:
    """What all three have in common.

    Args:
        context: of the program.
        name: declared one of the attention.
        neuron: behind the product, or behind the mask's sum.
        heads: number of heads.
        scale: of the product.
    """

    kernel: str

    def __init__(
        self, context: Context, name: str, neuron: nn.Module, heads: int, scale: float = 1.0
    ) -> None:
        self._context = context
        self._name = name
        self._path = context.path(neuron)
        self._out = SpikesOut(neuron)
        self._currents, self._products = Buffer(), Buffer()
        self._struct = structs.Attention(
            heads=heads,
            scale=scale,
            neuron=neuron_struct(neuron),
        )

    def _run(self, q: Rows, k: Rows, v: Rows, seen: tuple[int, ...]) -> Rows:
        """Run the kernel.

        Args:
            q: queries.
            k: keys.
            v: values, of which the result has as many channels.
            seen: shape of the currents of its neurons.
        """
        a = self._struct
        a.q_bits, a.k_bits, a.v_bits = (x.at(Form.BITS) for x in (q, k, v))
        a.q_counts, a.k_counts, a.v_counts = (x.at(Form.COUNTS) for x in (q, k, v))
        a.images, a.tokens, a.steps = q.images, q.positions, q.steps
        a.qk, a.v = q.channels, v.channels
        a.unit = q.unit * k.unit * v.unit
        rows, a.out = self._out.take(q.images, q.grid, q.steps, v.channels, cleared=True)
        currents = self._take_currents(seen)
        a.currents = None if currents is None else currents.data_ptr()
        counted = self._context.counter(q.images)
        a.counted = counted.data_ptr()
        self._context.run(self.kernel, a)
        self._context.count(self._name, counted)
        self._context.watch(self._path, currents)
        return rows

    def _take_currents(self, shape: tuple[int, ...]) -> Tensor | None:
        if self._context.watcher is None:
            return None
        return self._currents.take(shape, torch.float32)


class MatrixAttention(_AttentionRun):
    """``neuron(q (k^T v) scale)`` per head (SSA, SDSA-3)."""

    kernel = "run_matrix_attention"

    def __call__(self, q: Rows, k: Rows, v: Rows) -> Rows:
        """Spikes of the channels of `v`."""
        a = self._struct
        a.steps, a.qk, a.v = q.steps, q.channels, v.channels
        size = self._context.measure("products_of", a)
        # In words of 64 bytes' alignment, which torch gives to what it allocates.
        a.products = self._products.take((size,), torch.uint8).data_ptr()
        return self._run(q, k, v, (q.images, q.positions, q.steps, v.channels))


class HadamardAttention(_AttentionRun):
    """``q * neuron(sum over tokens of k * v)`` (SDSA-1)."""

    kernel = "run_hadamard_attention"

    def __call__(self, q: Rows, k: Rows, v: Rows) -> Rows:
        """Spikes of the channels of `q`."""
        return self._run(q, k, v, (q.images, 1, q.steps, v.channels))


class TokenMaskAttention(_AttentionRun):
    """``k * neuron(sum over a head's channels of q)`` (QKTA)."""

    kernel = "run_token_attention"

    def __call__(self, q: Rows, k: Rows) -> Rows:
        """Spikes of the channels of `k`."""
        return self._run(q, k, k, (q.images, q.positions, q.steps, self._struct.heads))
