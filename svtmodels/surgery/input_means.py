"""Mean of what enters each synapse that reads channels which can leave."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..network import Network
from ..parts.synapse import shape_of, window_of
from .watching import Watcher


class InputMeans:
    """Mean input vector over all images, steps and positions, however wide the synapse is.

    The mean over the windows of a convolution is that over the windows of the mean map: nothing is
    unfolded per image. Depthwise synapses keep the channels that they are given, and need none.
    """

    def __init__(self, network: Network) -> None:
        synapses = {s.name: s for s in network.declaration.synapses if not s.links}
        read = (name for group in network.declaration.groups for name in group.consumers)
        self._modules: dict[str, nn.Module] = {}
        self._paths: dict[str, str] = {}
        for name in read:
            if name in synapses:
                self._paths[name] = synapses[name].weight
                self._modules[name] = network.get_submodule(synapses[name].weight)
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def watchers(self) -> list[Watcher]:
        """What must watch the network as it runs."""
        return [(path, functools.partial(self._see, name)) for name, path in self._paths.items()]

    def found(self) -> dict[str, NDArray[np.float32]]:
        """Mean [C_in * k * k] by synapse, in the order of its weight."""
        return {name: self._mean(name).float().numpy() for name in self._sums}

    def _see(self, name: str, x: Tensor, _: Tensor) -> None:
        kept = 3 if window_of(self._modules[name])["padding"] is not None else 1
        rows = x.detach().reshape(-1, *x.shape[-kept:])
        sums = rows.sum(0, dtype=torch.float64)
        self._sums[name] = self._sums.get(name, 0) + sums
        self._counts[name] = self._counts.get(name, 0) + len(rows)

    def _mean(self, name: str) -> Tensor:
        mean, module = self._sums[name] / self._counts[name], self._modules[name]
        window = window_of(module)
        if window["padding"] is None:
            return mean
        kernel, padding, stride = shape_of(module)[2:], window["padding"], window["stride"]
        windows = F.unfold(
            mean.permute(2, 0, 1)[None], tuple(kernel), padding=padding, stride=stride
        )
        return windows[0].mean(1)
