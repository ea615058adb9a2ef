"""Fixed-point arithmetic for a compressed network: the last step, as recovery moves everything."""

from __future__ import annotations

from ..network import Network
from ..parts.fixed_grid import CURRENT_BITS
from ..parts.fixed_neuron import FixedLIF
from ..parts.fixed_synapse import FixedSynapse
from ..parts.neuron import LIF
from ..parts.parametric_neuron import ParametricLIF
from ..parts.state_neuron import StateLIF
from ..parts.synapse import QuantisedSynapse

FIXED = "fixed"
"""Among `ALLOWED["arithmetic"]`."""


def to_fixed_point(network: Network) -> None:
    """Move quantised synapses and LIF neurons to integers, in place.

    Unquantised synapses, integer neurons without a membrane and what lies between (attention
    scales, residual sums, learnt scales) stay as they are: sums of spikes and of currents on the
    grid are exact in float32 below 4,096, the rest is rounded as it enters the next neuron. A
    network in fixed point does not change.

    Args:
        network: compressed and recovered; to be saved, or to be evaluated.
    """
    for synapse in network.declaration.synapses:
        module = network.get_submodule(synapse.weight)
        if isinstance(module, QuantisedSynapse):
            network.set_submodule(synapse.weight, FixedSynapse.of(module))
    for layer in network.declaration.neurons:
        neuron = network.get_submodule(layer.name)
        if isinstance(neuron, LIF | ParametricLIF):
            network.set_submodule(layer.name, _fixed(neuron))
    network.arithmetic = FIXED


def _fixed(neuron: LIF | ParametricLIF) -> FixedLIF:
    bits = neuron.bits if isinstance(neuron, StateLIF) else CURRENT_BITS
    fixed = FixedLIF(float(neuron.tau), float(neuron.v_threshold), bits)
    fixed.train(neuron.training)
    return fixed
