"""Which run a synapse gets, with the batch norm and the neurons behind it."""

from __future__ import annotations

from torch import nn

from .context import Context
from .depthwise_synapse import DepthwiseSynapse
from .packing import weights_of
from .plain_synapse import PlainSynapse
from .spiking_synapse import SpikingSynapse
from .synapse_run import SynapseRun

_LARGEST_ROW = 2**16
"""Weight rows and the entries of a line are numbered in 16 bits."""


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
