"""What a packed folder says of fixed-point arithmetic: all that a board needs beside the tensors.

Scales, biases, thresholds and time constants lie in the file as the float32 numbers that equal
them, so sizes are those of float32 arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..network import Network
from ..parts.fixed_grid import CURRENT_BITS, FRACTION_BITS
from ..parts.fixed_neuron import FixedLIF
from ..parts.fixed_synapse import MANTISSA_BITS, FixedSynapse
from ..parts.synapse import QuantisedSynapse
from ..surgery.fixed_point import FIXED, to_fixed_point
from .neurons import neuron_constants


def describe_arithmetic(network: Network) -> dict[str, Any]:
    """Entry of the manifest for a network in fixed point: formats, shifts and leaks."""
    declared = network.declaration
    synapses = {s.name: network.get_submodule(s.weight) for s in declared.synapses}
    neurons = {n.name: network.get_submodule(n.name) for n in declared.neurons}
    fixed = {name: n for name, n in neurons.items() if isinstance(n, FixedLIF)}
    return {
        "kind": FIXED,
        "fraction_bits": FRACTION_BITS,
        "current_bits": CURRENT_BITS,
        "mantissa_bits": MANTISSA_BITS,
        "rounding": "half-even",
        "scale_shifts": {n: s.shift for n, s in synapses.items() if isinstance(s, FixedSynapse)},
        "membrane_shifts": {name: neuron.shift for name, neuron in fixed.items()},
        "leaks": {name: neuron.numerator for name, neuron in fixed.items()},
    }


def restore_arithmetic(network: Network, entry: Mapping[str, Any]) -> None:
    """Move a network that was read to the fixed-point arithmetic that its folder describes.

    Raises:
        ValueError: the entry is not that of the network, or a number is not on its grid.
    """
    before = _numbers(network)
    to_fixed_point(network)
    for name, found in _numbers(network).items():
        if not torch.equal(found, before[name]):
            raise ValueError(f"{name} holds numbers that are not on the grid of fixed point")
    if dict(entry) != describe_arithmetic(network):
        raise ValueError("its fixed-point formats are not those of its numbers")


def _numbers(network: Network) -> dict[str, Tensor]:
    """All that is on a grid."""
    modules = {s.name: network.get_submodule(s.weight) for s in network.declaration.synapses}
    quantised = {name: m for name, m in modules.items() if isinstance(m, QuantisedSynapse)}
    vectors = {name: torch.stack([m.scale, m.bias]) for name, m in quantised.items()}
    return {**vectors, "neurons": torch.tensor(neuron_constants(network))}
