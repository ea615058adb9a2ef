"""What each channel is worth to first order: output times gradient of the cross-entropy."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..network import Network
from .watching import Watcher

_CHUNK = 16
"""Images that are differentiated at once: a backward pass holds all activations."""


class TaylorScores:
    """``|sum over steps and positions of output x gradient|``, averaged over images.

    The first-order change of the loss when a channel falls silent (Molchanov et al., arXiv
    1611.06440), through the surrogate gradients of the neurons. No gradient is left anywhere.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._layers = [each.name for each in network.declaration.neurons if each.channels]
        self._outputs: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}
        self._images = 0

    def watchers(self) -> list[Watcher]:
        """What must watch the network as it runs."""
        return [(name, functools.partial(self._see, name)) for name in self._layers]

    def run(self, images: Tensor, labels: Tensor) -> None:
        """Run the watched network on images [B, ...] with labels [B], and take in its gradients."""
        for chunk, answers in zip(images.split(_CHUNK), labels.split(_CHUNK), strict=True):
            # Networks may have weights without gradients: then only the images carry one.
            with torch.enable_grad():
                logits = self._network(chunk.detach().clone().requires_grad_())
                loss = F.cross_entropy(logits, answers, reduction="sum")
            gradients = torch.autograd.grad(loss, list(self._outputs.values()))
            for (name, output), gradient in zip(self._outputs.items(), gradients, strict=True):
                # [T, B, ..., C] to [B, C]: of each image on its own.
                images_first = (output.detach() * gradient).double().transpose(0, 1)
                scores = images_first.flatten(1, -2).sum(1).abs().sum(0)
                self._sums[name] = self._sums.get(name, 0) + scores
            self._outputs.clear()
            self._images += len(chunk)

    def found(self) -> dict[str, NDArray[np.float32]]:
        """Score [C] by neuron layer."""
        return {name: (sums / self._images).float().numpy() for name, sums in self._sums.items()}

    def _see(self, name: str, _: Tensor, spikes: Tensor) -> None:
        self._outputs[name] = spikes
