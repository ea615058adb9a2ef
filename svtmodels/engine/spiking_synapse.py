"""The synapse that spikes drive."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from . import structs
from .context import Buffer, Context
from .neurons import SpikesOut, neuron_struct
from .packing import LANES, Weights
from .rows import Form, Rows
from .synapse_run import SynapseRun, reach_of

_LEVELS = 256
_LARGEST_SUM = 2**15 - 1
"""Of products, in the 16 bits in which the kernel sums them up before it moves them to 32."""


class SpikingSynapse(SynapseRun):
    """A synapse that spikes drive: sums the weight rows of those that fire."""

    def __init__(
        self, context: Context, name: str, weights: Weights, neuron: nn.Module | None
    ) -> None:
        self._context = context
        self._name = name
        self._weights = weights
        self._path = context.path(neuron) if neuron is not None else ""
        self._spikes = SpikesOut(neuron) if neuron is not None else None
        self._currents, self._workspace = Buffer(), Buffer()
        self._stored = weights.blocks()
        self._levels = torch.arange(_LEVELS, dtype=torch.float32)
        self._values = torch.empty_like(self._levels)
        self._largest_code = weights.largest_code()
        pruned = name in context.network.kept_numbers
        # Per weight row, how many outputs a spike feeds (methods of counting: evaluators/synops).
        self._operations = (weights.rows != 0).sum(1).to(torch.int32) if pruned else None
        dense = weights.quantised is not None and not pruned and context.has_byte_products
        self._codes = weights.fours() if dense else None
        self._struct = structs.Synapse(
            inputs=weights.inputs,
            kernel=weights.kernel,
            stride=weights.window["stride"],
            padding=weights.padding,
            outputs=weights.outputs,
            weights=self._stored.data_ptr(),
            integers=int(weights.quantised is not None),
            scale=weights.affine.scale.data_ptr(),
            bias=weights.affine.bias.data_ptr(),
            operations=None if self._operations is None else self._operations.data_ptr(),
            neuron=neuron_struct(neuron),
            codes=None if self._codes is None else self._codes.data_ptr(),
        )

    @override
    def __call__(self, x: Rows, base: Rows | None = None) -> Rows:
        s, (height, width) = self._struct, x.grid
        out_grid = self._out_grid(height, width)
        s.bits, s.counts = x.at(Form.BITS), x.at(Form.COUNTS)
        s.images, s.height, s.width, s.steps = x.images, height, width, x.steps
        s.out_height, s.out_width = out_grid
        self._set_values(x)
        shape = (x.images, out_grid[0] * out_grid[1], x.steps, self._weights.outputs)
        currents = self._take_currents(shape)
        s.currents = None if currents is None else currents.data_ptr()
        s.base = None if base is None else base.data.data_ptr()
        spikes = None
        if self._spikes is not None:
            spikes, s.out = self._spikes.take(x.images, out_grid, x.steps, shape[-1])
        counted = self._context.counter(x.images)
        s.counted = counted.data_ptr()
        if not self._run_densely(x, out_grid, counted):
            self._run("workspace_of", "run_synapse")
        self._context.count(self._name, counted)
        if spikes is None:
            assert currents is not None
            return Rows(Form.CURRENTS, currents, shape[-1], out_grid)
        self._context.watch(self._path, currents)
        return spikes

    def _run(self, size: str, kernel: str) -> None:
        workspace = self._workspace.take((self._context.measure(size, self._struct),), torch.uint8)
        self._struct.workspace = workspace.data_ptr()
        self._context.run(kernel, self._struct)

    def _run_densely(self, x: Rows, out_grid: tuple[int, int], counted: Tensor) -> bool:
        """Run products of bytes, if that is faster than going through the spikes."""
        if self._codes is None:
            return False
        w = self._weights
        self._context.run("count_reach", reach_of(x, w, counted))
        windows = x.images * out_grid[0] * out_grid[1] * x.steps
        if not _dense_is_faster(w, x.form, int(counted.sum()) / windows):
            counted.zero_()
            return False
        counted *= w.outputs
        self._run("map_bytes_of", "run_integers")
        return True

    def _out_grid(self, height: int, width: int) -> tuple[int, int]:
        margin, stride = 2 * self._weights.padding - self._weights.kernel, self._struct.stride
        return (height + margin) // stride + 1, (width + margin) // stride + 1

    def _set_values(self, x: Rows) -> None:
        quantised = self._weights.quantised
        if quantised is not None:
            if quantised.grid * x.unit != 1:
                raise NotImplementedError("a grid that is not that of the spikes")
            largest = 1 if x.form is Form.BITS else quantised.max_input
            self._struct.capacity = _LARGEST_SUM // max(self._largest_code * largest, 1)
            return
        torch.mul(self._levels, x.unit, out=self._values)
        self._struct.values = self._values.data_ptr()

    def _take_currents(self, shape: tuple[int, ...]) -> Tensor | None:
        if self._spikes is not None and self._context.watcher is None:
            return None
        return self._currents.take(shape, torch.float32)


def _dense_is_faster(weights: Weights, form: Form, spikes: float) -> bool:
    """Whether dense products of bytes take less time than the spikes of a window.

    Both give the same integers. In units of one product of 64 bytes, as fitted to the layers of
    the CIFAR-10 zoo on an AMD EPYC (Zen 4): a spike costs about 1 and half a unit per group (one
    where it is multiplied by a count), its list some 25, that of a convolution 75.
    """
    groups = weights.rows.shape[1] // LANES
    dense = 25 + len(weights.rows) / 4 * groups
    per_spike = 0.9 + groups * (0.5 if form is Form.BITS else 1.0)
    return dense < (25 if weights.kernel == 1 else 75) + spikes * per_spike
