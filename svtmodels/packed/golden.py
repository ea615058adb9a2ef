"""Golden vectors: inputs, spike counts and logits that every execution must reproduce."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..network import Network

_INPUTS = 2


@torch.inference_mode()
def golden_vectors(network: Network, inputs: Tensor | None = None) -> dict[str, NDArray[Any]]:
    """``inputs`` [B, ...], ``logits`` [B, K] and ``spikes``, the sum of each neuron layer.

    Args:
        network: in eval mode.
        inputs: what to run; two fixed random ones if None.
    """
    if inputs is None:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.rand(_INPUTS, *network.input_shape, generator=generator) * 2 - 1
    counts: dict[str, float] = {}
    hooks = [
        network.get_submodule(layer.name).register_forward_hook(_counter(counts, layer.name))
        for layer in network.declaration.neurons
    ]
    try:
        logits = network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    spikes = [round(counts[layer.name]) for layer in network.declaration.neurons]
    return {
        "inputs": inputs.numpy(),
        "logits": logits.numpy(),
        "spikes": np.array(spikes, np.int64),
    }


def _counter(counts: dict[str, float], name: str) -> Any:
    def count(module: Any, inputs: Any, output: Tensor) -> None:
        counts[name] = float(output.double().sum())

    return count
