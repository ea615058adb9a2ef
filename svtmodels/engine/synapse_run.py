"""What every run of a synapse is."""

from __future__ import annotations

import abc

from torch import Tensor

from . import structs
from .packing import Weights
from .rows import Form, Rows


class SynapseRun(abc.ABC):
    """A synapse, its affine and, where it is given, the neuron layer behind it."""

    @abc.abstractmethod
    def __call__(self, x: Rows, base: Rows | None = None) -> Rows:
        """Spikes; currents where there is no neuron.

        Args:
            x: what enters.
            base: residual stream that the currents are added to.
        """


def reach_of(x: Rows, weights: Weights, counted: Tensor) -> structs.Reach:
    """What counts, per image, the spikes of all windows of a synapse."""
    return structs.Reach(
        x.at(Form.BITS),
        x.at(Form.COUNTS),
        *(x.images, *x.grid, x.steps, x.channels),
        *(weights.kernel, weights.window["stride"], weights.padding),
        counted.data_ptr(),
    )
