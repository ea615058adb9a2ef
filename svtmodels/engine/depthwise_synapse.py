"""The depthwise convolution of spikes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from . import structs
from .context import Buffer, Context
from .neurons import SpikesOut, neuron_struct
from .packing import Weights
from .rows import Form, Rows
from .synapse_run import SynapseRun, reach_of


class DepthwiseSynapse(SynapseRun):
    """A depthwise convolution of spikes that keeps the size of the map."""

    def __init__(self, context: Context, weights: Weights, neuron: nn.Module | None) -> None:
        self._context = context
        self._weights = weights
        self._name = context.synapse_name(weights.module)
        self._path = context.path(neuron) if neuron is not None else ""
        self._spikes = SpikesOut(neuron) if neuron is not None else None
        self._currents, self._map = Buffer(), Buffer()
        self._struct = structs.Depthwise(
            channels=weights.outputs,
            kernel=weights.kernel,
            weights=weights.rows.data_ptr(),
            scale=weights.affine.scale.data_ptr(),
            bias=weights.affine.bias.data_ptr(),
            neuron=neuron_struct(neuron),
        )

    @override
    def __call__(self, x: Rows, base: Rows | None = None) -> Rows:
        assert base is None, "no network adds a depthwise convolution to its stream"
        d, (height, width) = self._struct, x.grid
        d.bits, d.counts = x.at(Form.BITS), x.at(Form.COUNTS)
        d.images, d.height, d.width, d.steps = x.images, height, width, x.steps
        # Codes take counts as they are; their grid is in the scale.
        d.unit = 1.0 if self._weights.quantised else x.unit
        shape = (x.images, x.positions, x.steps, x.channels)
        wanted = self._spikes is None or self._context.watcher is not None
        currents = self._currents.take(shape, torch.float32) if wanted else None
        d.currents = None if currents is None else currents.data_ptr()
        spikes = None
        if self._spikes is not None:
            spikes, d.out = self._spikes.take(x.images, x.grid, x.steps, x.channels)
        size = self._context.measure("spread_bytes_of", d)
        d.map = self._map.take((size,), torch.uint8).data_ptr()
        self._context.run("run_depthwise", d)
        self._context.count(self._name, self._operations(x))
        if spikes is None:
            assert currents is not None
            return Rows(Form.CURRENTS, currents, x.channels, x.grid)
        self._context.watch(self._path, currents)
        return spikes

    def _operations(self, x: Rows) -> Tensor:
        counted = self._context.counter(x.images)
        self._context.run("count_reach", reach_of(x, self._weights, counted))
        return counted
