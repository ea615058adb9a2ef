"""What a packed folder holds of the neurons: one kind per network, two numbers per layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ...spaces.site import SiteKind
from ..network import Network
from ..parts.integer_neuron import IntegerNeuron, Rounding
from ..parts.neuron import LIF
from ..parts.parametric_neuron import ParametricLIF
from ..parts.state_neuron import StateLIF
from ..surgery.fixed_point import FIXED

_LIF = {"kind": "lif", "constants": ["tau", "v_threshold"], "v_reset": 0.0, "decay_input": True}
_STATE = {"step": "v_threshold * 2^(2 - bits)", "rounding": "half-even", "range": "signed"}
"""How membranes of few bits are kept between two steps (`StateLIF`)."""
_FIXED_STATE = {**_STATE, "step": "2^(membrane shift - fraction bits)"}
"""The same in fixed point (`FixedLIF`)."""
_INTEGER = {"kind": "integer", "constants": ["levels", "norm"]}


def describe_neurons(network: Network) -> dict[str, Any]:
    """Entry of the manifest: kind, layers, what the two numbers are, and what holds for all."""
    layers = _layers(network)
    first = next(iter(layers.values()))
    # A learnt time constant is a constant once it is packed.
    rules = {**_INTEGER, "rounding": str(first.rounding)} if _is_integer(first) else _LIF
    chosen = network.candidate.to_dict().get(SiteKind.STATE, {})
    states = {n: layers[n].bits for n in chosen if isinstance(layers[n], StateLIF)}
    described = {**rules, "layers": list(layers)}
    state = _FIXED_STATE if network.arithmetic == FIXED else _STATE
    return {**described, "state": {**state, "bits": states}} if states else described


def neuron_constants(network: Network) -> list[list[float]]:
    """The two numbers of every layer."""
    names = describe_neurons(network)["constants"]
    return [[float(getattr(n, name)) for name in names] for n in _layers(network).values()]


def restore_neurons(
    network: Network, entry: Mapping[str, Any], constants: Sequence[Sequence[float]]
) -> None:
    """Give a network the neurons that its folder describes.

    The bits of their membranes are those of the network's candidate.

    Raises:
        ValueError: they are not those of the architecture or of the candidate, or not usable.
    """
    chosen = network.candidate.to_dict().get(SiteKind.STATE, {})
    for name, bits in chosen.items():
        network.set_submodule(name, StateLIF(2.0, 1.0, bits))
    expected = describe_neurons(network)
    if dict(entry) != expected:
        raise ValueError("its neuron layers are not those of the architecture and its candidate")
    for name, (first, second) in zip(expected["layers"], constants, strict=True):
        network.set_submodule(name, _build(expected, first, second, chosen.get(name)))


def spikes_per_unit(neuron: nn.Module) -> int:
    """Spikes that an output of one stands for."""
    return neuron.norm if isinstance(neuron, IntegerNeuron) else 1


def _build(entry: Mapping[str, Any], first: float, second: float, bits: int | None) -> nn.Module:
    if min(first, second) <= 0:
        raise ValueError(f"neurons with the constants {first} and {second}")
    if bits is not None:
        return StateLIF(first, second, bits)
    if entry["kind"] == _LIF["kind"]:
        return LIF(first, second)
    return IntegerNeuron(int(first), int(second), Rounding(entry["rounding"]))


def _is_integer(neuron: nn.Module) -> bool:
    return isinstance(neuron, IntegerNeuron)


def _layers(network: Network) -> dict[str, Any]:
    layers = {}
    for layer in network.declaration.neurons:
        neuron = network.get_submodule(layer.name)
        assert isinstance(neuron, LIF | ParametricLIF | IntegerNeuron)
        layers[layer.name] = neuron
    return layers
