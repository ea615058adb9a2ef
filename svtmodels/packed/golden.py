"""Golden vectors: inputs, spike counts and logits that every execution must reproduce."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..declaration import Source
from ..network import Network
from .neurons import spikes_per_unit

_INPUTS = 2
_COUNTS = 4


@torch.inference_mode()
def golden_vectors(network: Network, inputs: Tensor | None = None) -> dict[str, NDArray[Any]]:
    """``inputs`` [B, ...], ``logits`` [B, K] and ``spikes``, how many each neuron layer fires.

    Args:
        network: run in eval mode, whatever its mode is.
        inputs: what to run; two fixed random ones if None.
    """
    if inputs is None:
        inputs = _random_inputs(network)
    counts: dict[str, float] = {}
    hooks = [
        network.get_submodule(layer.name).register_forward_hook(_counter(counts, layer.name))
        for layer in network.declaration.neurons
    ]
    training = network.training
    try:
        logits = network.eval()(inputs)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    spikes = [
        round(counts[layer.name] * spikes_per_unit(network.get_submodule(layer.name)))
        for layer in network.declaration.neurons
    ]
    return {
        "inputs": inputs.numpy(),
        "logits": logits.numpy(),
        "spikes": np.array(spikes, np.int64),
    }


def _random_inputs(network: Network) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(_INPUTS, *network.input_shape, generator=generator)
    if network.declaration.synapses[0].source is Source.EVENTS:
        return (uniform * _COUNTS).floor()  # Integer weights are exact on whole counts only.
    return uniform * 2 - 1


def _counter(counts: dict[str, float], name: str) -> Any:
    def count(module: Any, inputs: Any, output: Tensor) -> None:
        counts[name] = float(output.double().sum())

    return count
