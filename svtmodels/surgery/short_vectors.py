"""Scales and biases of quantised synapses in fewer bytes: a last step, as recovery moves both."""

from __future__ import annotations

from ...spaces.errors import BadInput, unknown_name
from ..network import Network
from ..parts.short_vectors import SHORT_TYPES
from ..parts.synapse import QuantisedSynapse
from .fixed_point import FIXED


def to_short_vectors(network: Network, name: str) -> None:
    """Round scales and biases of quantised synapses to what a shorter type holds, in place.

    They are computed with in float32. Batch norms and biases of unquantised synapses stay as they
    are. A network with rounded vectors does not change.

    Args:
        network: compressed and recovered; to be saved, or to be evaluated.
        name: of the type, one of `SHORT_TYPES`.

    Raises:
        BadInput: another type, or the network is in fixed point, whose scales and biases lie on
            another grid.
    """
    if name not in SHORT_TYPES:
        raise unknown_name("type of vectors", name, SHORT_TYPES)
    if network.arithmetic == FIXED:
        raise BadInput("a network in fixed point keeps its scales and biases; round another one.")
    short = SHORT_TYPES[name]
    for synapse in network.declaration.synapses:
        module = network.get_submodule(synapse.weight)
        if isinstance(module, QuantisedSynapse):
            module.scale, module.bias = short.rounded(module.scale), short.rounded(module.bias)
    network.vectors = name
