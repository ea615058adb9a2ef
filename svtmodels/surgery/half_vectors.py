"""Scales and biases of quantised synapses in float16: a last step, as recovery moves both."""

from __future__ import annotations

from ...spaces.errors import BadInput
from ..network import Network
from ..parts.half_vectors import HALF, rounded
from ..parts.synapse import QuantisedSynapse
from .fixed_point import FIXED


def to_half_vectors(network: Network) -> None:
    """Round scales and biases of quantised synapses to what float16 holds, in place.

    They are computed with in float32. Batch norms and biases of unquantised synapses stay as they
    are. A network with rounded vectors does not change.

    Args:
        network: compressed and recovered; to be saved, or to be evaluated.

    Raises:
        BadInput: the network is in fixed point, whose scales and biases lie on another grid.
    """
    if network.arithmetic == FIXED:
        raise BadInput("a network in fixed point keeps its scales and biases; round another one.")
    for synapse in network.declaration.synapses:
        module = network.get_submodule(synapse.weight)
        if isinstance(module, QuantisedSynapse):
            module.scale, module.bias = rounded(module.scale), rounded(module.bias)
    network.vectors = HALF
