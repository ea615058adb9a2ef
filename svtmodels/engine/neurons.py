"""Neurons of the engine: what they are to a kernel, and those that stand on their own."""

from __future__ import annotations

import torch
from torch import nn

from ..parts.fixed_neuron import FixedLIF
from ..parts.integer_neuron import IntegerNeuron, Rounding
from ..parts.neuron import LIF
from ..parts.parametric_neuron import ParametricLIF
from ..parts.state_neuron import StateLIF
from . import structs
from .context import Buffer, Context
from .rows import Form, Rows, words_of

_NONE, _LEAKY, _LEAKY_ROUNDED, _COUNT_TO_EVEN, _COUNT_HALF_UP = range(5)


def neuron_struct(neuron: nn.Module | None) -> structs.Neuron:
    """A neuron as kernels take it; None: currents stay what they are.

    Raises:
        NotImplementedError: no kernel computes it.
    """
    if neuron is None:
        return structs.Neuron(_NONE)
    if isinstance(neuron, FixedLIF):
        raise NotImplementedError("fixed-point neurons run in plain torch")
    if isinstance(neuron, StateLIF):
        half = 2 ** (neuron.bits - 1)
        constants = (float(neuron.tau), float(neuron.v_threshold), neuron.step, half)
        return structs.Neuron(_LEAKY_ROUNDED, *constants)
    if isinstance(neuron, LIF | ParametricLIF):
        return structs.Neuron(_LEAKY, float(neuron.tau), float(neuron.v_threshold))
    if isinstance(neuron, IntegerNeuron):
        to_even = neuron.rounding is Rounding.HALF_EVEN
        kind = _COUNT_TO_EVEN if to_even else _COUNT_HALF_UP
        return structs.Neuron(kind, levels=neuron.levels)
    raise NotImplementedError(f"no kernel computes neurons of type {type(neuron).__name__}")


class SpikesOut:
    """Where a kernel puts the spikes of one neuron layer."""

    def __init__(self, neuron: nn.Module) -> None:
        self._buffer = Buffer()
        self._counts = isinstance(neuron, IntegerNeuron)
        self._unit = 1 / neuron.norm if isinstance(neuron, IntegerNeuron) else 1.0

    def take(
        self,
        images: int,
        grid: tuple[int, int],
        steps: int,
        channels: int,
        *,
        cleared: bool = False,
    ) -> tuple[Rows, structs.Spikes]:
        """Rows to be written, and what the kernel is told of them.

        Args:
            images: B.
            grid: of the positions.
            steps: T.
            channels: C.
            cleared: whether the rows must be zero before.
        """
        leading = (images, grid[0] * grid[1], steps)
        if self._counts:
            data = self._buffer.take((*leading, channels), torch.uint8)
            rows = Rows(Form.COUNTS, data, channels, grid, self._unit)
            return rows, structs.Spikes(None, data.data_ptr(), channels)
        data = self._buffer.take((*leading, words_of(channels)), torch.int64)
        if cleared:
            data.zero_()
        rows = Rows(Form.BITS, data, channels, grid)
        return rows, structs.Spikes(data.data_ptr(), None, channels)


class NeuronRun:
    """A neuron layer on real-valued currents.

    Args:
        context: of the program.
        neuron: of the network.
    """

    def __init__(self, context: Context, neuron: nn.Module) -> None:
        self._context = context
        self._path = context.path(neuron)
        self._struct = structs.Layer(neuron=neuron_struct(neuron))
        self._out = SpikesOut(neuron)

    def __call__(self, x: Rows, steps: int | None = None) -> Rows:
        """Spikes for currents.

        Args:
            x: currents.
            steps: T of static currents, which are the same at every step; None: they are not.
        """
        layer, repeated = self._struct, steps is not None
        count = steps if steps is not None else x.steps
        rows, layer.out = self._out.take(x.images, x.grid, count, x.channels)
        layer.currents = x.data.data_ptr()
        layer.positions, layer.steps = x.images * x.positions, count
        layer.channels, layer.is_static = x.channels, int(repeated)
        self._context.run("run_neurons", layer)
        seen = x.data.expand(-1, -1, count, -1) if repeated else x.data
        self._context.watch(self._path, seen)
        return rows
