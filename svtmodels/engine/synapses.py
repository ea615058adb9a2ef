"""Synapses of the engine, each with the batch norm and the neurons behind it."""

from __future__ import annotations

import abc
from dataclasses import replace

import torch
from torch import Tensor, nn
from typing_extensions import override

from ..parts.synapse import window_of
from . import structs
from .context import Buffer, Context
from .neurons import NeuronRun, SpikesOut, neuron_struct
from .packing import LANES, Weights, weights_of
from .rows import Form, Rows

_LARGEST_ROW = 2**16
"""Weight rows and the entries of a line are numbered in 16 bits."""
_LEVELS = 256


class SynapseRun(abc.ABC):
    """A synapse, its affine and, where it is given, the neuron layer behind it."""

    @abc.abstractmethod
    def __call__(self, x: Rows, base: Rows | None = None) -> Rows:
        """Spikes; currents where there is no neuron.

        Args:
            x: what enters.
            base: residual stream that the currents are added to.
        """


def synapse_run(
    context: Context, weight: nn.Module, norm: nn.Module | None, neuron: nn.Module | None = None
) -> SynapseRun:
    """The fastest run of a synapse that gives what its modules give.

    Args:
        context: of the program.
        weight: module that holds the weight.
        norm: batch norm behind it, if there is one.
        neuron: behind both; None: the result is currents.
    """
    name = context.synapse_name(weight)
    if not context.sees_spikes(name):
        return PlainSynapse(context, weight, norm, neuron)
    weights = weights_of(weight, norm)
    if weights.window["groups"] > 1:
        return DepthwiseSynapse(context, weights, neuron)
    if len(weights.rows) >= _LARGEST_ROW:
        context.plain[name] = f"more than {_LARGEST_ROW} weights per output"
        return PlainSynapse(context, weight, norm, neuron)
    return SpikingSynapse(context, name, weights, neuron)


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
        self._values = torch.arange(_LEVELS, dtype=torch.float32)
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
            block=weights.block,
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
            self._struct.capacity = self._weights.capacity(largest)
            return
        values = torch.arange(_LEVELS, dtype=torch.float32) * x.unit
        self._values.copy_(values)
        self._struct.values = self._values.data_ptr()

    def _take_currents(self, shape: tuple[int, ...]) -> Tensor | None:
        if self._spikes is not None and self._context.watcher is None:
            return None
        return self._currents.take(shape, torch.float32)


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


def reach_of(x: Rows, weights: Weights, counted: Tensor) -> structs.Reach:
    """What counts, per image, the spikes of all windows of a synapse."""
    return structs.Reach(
        x.at(Form.BITS),
        x.at(Form.COUNTS),
        *(x.images, *x.grid, x.steps, x.channels),
        *(weights.kernel, weights.window["stride"], weights.padding),
        counted.data_ptr(),
    )


class PlainSynapse(SynapseRun):
    """A synapse that runs as its plain module: what enters it is real-valued."""

    def __init__(
        self, context: Context, weight: nn.Module, norm: nn.Module | None, neuron: nn.Module | None
    ) -> None:
        self._weight = weight
        self._norm = norm
        self._pointwise = window_of(weight)["padding"] is None
        self._neuron = NeuronRun(context, neuron) if neuron is not None else None

    @override
    def __call__(self, x: Rows, base: Rows | None = None) -> Rows:
        currents = self._rows(x)
        if base is not None:
            currents = replace(currents, data=base.data + currents.data)
        return currents if self._neuron is None else self._neuron(currents)

    def _rows(self, x: Rows) -> Rows:
        if self._pointwise and x.form is Form.CURRENTS:
            values = self._values(x.data)
            return replace(x, data=values.contiguous(), channels=values.shape[-1])
        maps = self._values(x.plain().unflatten(2, x.grid))
        return Rows.of_currents(maps.flatten(2, 3), (maps.shape[2], maps.shape[3]))

    def _values(self, x: Tensor) -> Tensor:
        x = self._weight(x)
        return x if self._norm is None else self._norm(x)


class ImageSynapse:
    """The first convolution of a static image, once for all steps."""

    def __init__(self, context: Context, weight: nn.Module, norm: nn.Module) -> None:
        self._context = context
        self._image, self._rounded, self._out = Buffer(), Buffer(), Buffer()
        self._weights = weights_of(weight, norm)
        quantised = self._weights.quantised
        self._struct = structs.Dense(
            inputs=self._weights.inputs,
            kernel=self._weights.kernel,
            stride=self._weights.window["stride"],
            padding=self._weights.padding,
            outputs=self._weights.outputs,
            weights=self._weights.rows.data_ptr(),
            scale=self._weights.affine.scale.data_ptr(),
            bias=self._weights.affine.bias.data_ptr(),
            grid=quantised.grid if quantised else 0,
            largest=quantised.max_input if quantised else 0,
            integers=int(quantised is not None and not quantised.exact_in_float32),
        )

    def __call__(self, images: Tensor) -> Rows:
        """Currents [B, P, 1, C] of images [B, C_in, H, W]."""
        batch, channels, height, width = images.shape
        pixels = self._image.take((batch, height, width, channels), torch.float32)
        pixels.copy_(images.permute(0, 2, 3, 1))
        d, w = self._struct, self._weights
        grid = tuple(
            (size + 2 * w.padding - w.kernel) // w.window["stride"] + 1 for size in (height, width)
        )
        out = self._out.take((batch, grid[0] * grid[1], 1, w.outputs), torch.float32)
        d.in_, d.images, d.height, d.width = pixels.data_ptr(), batch, height, width
        d.out_height, d.out_width = grid
        d.out = out.data_ptr()
        d.rounded = self._rounded.take((height * width * channels,), torch.float32).data_ptr()
        self._context.run("run_dense", d)
        return Rows(Form.CURRENTS, out, w.outputs, (grid[0], grid[1]))
