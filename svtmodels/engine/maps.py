"""Pooling of maps, and sums of spikes."""

from __future__ import annotations

from dataclasses import replace

import torch

from . import structs
from .context import Buffer, Context
from .rows import Form, Rows


class PoolRun:
    """Max pooling 3x3, stride 2, padding 1, of spikes or of currents."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._out = Buffer()

    def __call__(self, x: Rows) -> Rows:
        """Rows of half the height and width."""
        (height, width), (*_, steps, columns) = x.grid, x.data.shape
        grid = ((height + 1) // 2, (width + 1) // 2)
        out = self._out.take((x.images, grid[0] * grid[1], steps, columns), x.data.dtype)
        kernel = {Form.BITS: "pool_bits", Form.CURRENTS: "pool_currents"}[x.form]
        sizes = (x.images, height, width, steps * columns)
        self._context.run(kernel, structs.Pool(x.data.data_ptr(), out.data_ptr(), *sizes))
        return replace(x, data=out, grid=grid)


class SumRun:
    """Sum of spikes, or of spike sums, and spikes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._out = Buffer()

    def __call__(self, first: Rows, spikes: Rows) -> Rows:
        """Counts of `first` (bits or counts) plus `spikes` (bits)."""
        shape = (*spikes.data.shape[:-1], spikes.channels)
        out = self._out.take(shape, torch.uint8)
        rows = spikes.images * spikes.positions * spikes.steps
        added = structs.Sum(
            first.at(Form.BITS),
            first.at(Form.COUNTS),
            spikes.data.data_ptr(),
            out.data_ptr(),
            *(rows, spikes.channels),
        )
        self._context.run("add_spikes", added)
        return Rows(Form.COUNTS, out, spikes.channels, spikes.grid)
