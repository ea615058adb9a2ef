"""The synapse that no kernel computes."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn
from typing_extensions import override

from ..parts.synapse import window_of
from .context import Context
from .neurons import NeuronRun
from .rows import Form, Rows
from .synapse_run import SynapseRun


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
