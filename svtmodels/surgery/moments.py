"""Second moments of what enters each synapse: which inputs fire together, and how often.

For binary inputs they are a table of spike co-occurrence. With them, surgery knows what an input
can be replaced by (methods 10); without, only how large its weights are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..network import Network
from ..parts.synapse import Window, shape_of, window_of

LARGEST = 2048
"""Inputs of a synapse, kernel positions included, up to which moments are kept: 16 MB."""
_ROWS = 32_768
"""Positions that are sampled per synapse; 16 and more for each input of the widest one."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Moments of the input vector x of a synapse over sampled positions.

    Attributes:
        products: mean of ``x x^T``, float32 [D, D]; D is C_in * k * k, in the order of the weight.
        means: mean of x, float32 [D].
    """

    products: NDArray[np.float32]
    means: NDArray[np.float32]


@torch.inference_mode()
def collect_moments(
    network: Network, batches: Iterable[Tensor], images: int, seed: int = 0
) -> dict[str, Moments]:
    """Moments of all synapses of a trained network, by synapse name.

    Depthwise synapses and those with more than `LARGEST` inputs have none; surgery falls back to
    magnitudes there.

    Args:
        network: in eval mode.
        batches: its inputs.
        images: how many there are in all.
        seed: of the sampled positions.
    """
    sums = {
        synapse.name: _Sums(network.get_submodule(synapse.weight), images, seed)
        for synapse in network.declaration.synapses
        if _has_moments(network.get_submodule(synapse.weight))
    }
    paths = {synapse.name: synapse.weight for synapse in network.declaration.synapses}
    handles = [
        network.get_submodule(paths[name]).register_forward_pre_hook(functools.partial(_see, each))
        for name, each in sums.items()
    ]
    try:
        for batch in batches:
            network(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: each.moments() for name, each in sums.items() if each.rows}


def without_moments(network: Network, moments: Mapping[str, Moments]) -> list[str]:
    """Synapses that surgery judges by magnitude, for want of moments."""
    return [s.name for s in network.declaration.synapses if s.name not in moments]


def _see(sums: _Sums, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    sums.add(inputs[0])


def _has_moments(synapse: nn.Module) -> bool:
    width = int(np.prod(shape_of(synapse)[1:]))
    return window_of(synapse)["groups"] == 1 and width <= LARGEST


class _Sums:
    """Sums of x and x x^T over sampled positions of one synapse's input."""

    def __init__(self, synapse: nn.Module, images: int, seed: int) -> None:
        _, _, *kernel = shape_of(synapse)
        self._kernel = kernel
        self._window: Window = window_of(synapse)
        self._share = images
        self._generator = torch.Generator().manual_seed(seed)
        self._products: Tensor | None = None
        self._means: Tensor | None = None
        self.rows = 0

    def add(self, x: Tensor) -> None:
        rows = self._vectors(x)
        if self._products is None or self._means is None:
            self._products = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
            self._means = torch.zeros(rows.shape[1], dtype=torch.float64)
        self._products += (rows.T @ rows).double()
        self._means += rows.double().sum(0)
        self.rows += len(rows)

    def moments(self) -> Moments:
        assert self._products is not None and self._means is not None
        products, means = self._products / self.rows, self._means / self.rows
        return Moments(products.float().numpy(), means.float().numpy())

    def _vectors(self, x: Tensor) -> Tensor:
        """Sampled input vectors, float32 [rows, D]."""
        if self._window["padding"] is None:
            flat = x.reshape(-1, x.shape[-1])
            return flat[self._sample(len(flat), x)].float()
        maps = x.reshape(-1, *x.shape[-3:]).permute(0, 3, 1, 2)
        size, padding, stride = self._kernel, self._window["padding"], self._window["stride"]
        # Few positions of all maps would unfold them all: few maps are taken instead.
        positions = (maps.shape[2] // stride) * (maps.shape[3] // stride)
        wanted = max(1, self._wanted(x) // max(positions, 1))
        maps = maps[self._draw(len(maps), wanted)].float()
        columns = F.unfold(maps, tuple(size), padding=padding, stride=stride)
        return columns.transpose(1, 2).flatten(0, 1)

    def _sample(self, count: int, x: Tensor) -> Tensor:
        return self._draw(count, self._wanted(x))

    def _wanted(self, x: Tensor) -> int:
        """Rows of this batch: its share of all images. Inputs are [T, B, ...] or [B, ...]."""
        batch = x.shape[1] if x.dim() > 2 else x.shape[0]
        return max(1, _ROWS * batch // max(self._share, 1))

    def _draw(self, count: int, wanted: int) -> Tensor:
        if wanted >= count:
            return torch.arange(count)
        return torch.randperm(count, generator=self._generator)[:wanted]
