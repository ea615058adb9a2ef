"""What a trained network does on the calibration images, as far as a choice of channels asks."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...spaces.surgery import SurgeryOptions
from ..network import Network
from .attention_loss import AttentionLosses
from .input_means import InputMeans
from .taylor import TaylorScores
from .watching import Watcher, watched

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Activity:
    """Statistics of a trained network; what the options do not need is empty.

    Attributes:
        rates: mean output of each channel of a neuron layer, [C], by its path.
        variances: of the same over images, steps and positions, [C].
        taylor: mean over images of ``|sum over steps and positions of output x gradient|``, [C].
        losses: quadratic forms [heads, d, d] of queries and keys, by channel group: what it
            costs an attention to lose a set of channels of a head is the sum over the set's rows
            and columns.
        inputs: mean of the input vector of synapses that read channels which can leave, [D], in
            the order of the weight.
    """

    rates: Arrays = field(default_factory=dict)
    variances: Arrays = field(default_factory=dict)
    taylor: Arrays = field(default_factory=dict)
    losses: Arrays = field(default_factory=dict)
    inputs: Arrays = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Short digest of all numbers."""
        content = hashlib.sha256()
        for part in dataclasses.fields(self):
            arrays: Arrays = getattr(self, part.name)
            for name in sorted(arrays):
                content.update(f"{part.name} {name} ".encode())
                content.update(np.ascontiguousarray(arrays[name]).tobytes())
        return content.hexdigest()[:16]


def collect_activity(
    network: Network, batches: Iterable[tuple[Tensor, Tensor]], options: SurgeryOptions
) -> Activity:
    """What the options need to know of a trained network; neither weights nor mode change.

    Args:
        network: in eval mode; for the Taylor criterion one whose images do not mix.
        batches: its inputs and their labels; not touched where nothing is needed.
        options: of surgery.
    """
    firing = _Firing(network) if options.channels in ("rate", "variance") else None
    taylor = TaylorScores(network) if options.channels == "taylor" else None
    losses = AttentionLosses(network) if options.channels == "surgeon" else None
    means = InputMeans(network) if options.compensation == "mean" else None
    watchers = [
        watcher for each in (firing, taylor, losses, means) if each for watcher in each.watchers()
    ]
    if not watchers:
        return Activity()
    with watched(network, watchers):
        for images, labels in batches:
            if taylor is not None:
                taylor.run(images, labels)
                continue
            with torch.inference_mode():
                network(images)
    rates, variances = firing.found() if firing else ({}, {})
    return Activity(
        rates,
        variances,
        taylor.found() if taylor else {},
        losses.found() if losses else {},
        means.found() if means else {},
    )


class _Firing:
    """Mean and variance of every channel of the neuron layers that can lose some."""

    def __init__(self, network: Network) -> None:
        self._layers = [each.name for each in network.declaration.neurons if each.channels]
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def watchers(self) -> list[Watcher]:
        return [(name, functools.partial(self._see, name)) for name in self._layers]

    def found(self) -> tuple[Arrays, Arrays]:
        means = {name: sums / self._counts[name] for name, sums in self._sums.items()}
        rates = {name: mean for name, (mean, _) in means.items()}
        variances = {name: square - mean.square() for name, (mean, square) in means.items()}
        return _arrays(rates), _arrays(variances)

    def _see(self, name: str, _: Tensor, spikes: Tensor) -> None:
        flat = spikes.flatten(0, -2).double()
        sums = torch.stack([flat.sum(0), flat.square().sum(0)])
        self._sums[name] = self._sums.get(name, 0) + sums
        self._counts[name] = self._counts.get(name, 0) + len(flat)


def _arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}
