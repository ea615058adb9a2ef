"""A trained network and what was measured of it, looked up by the names of synapses."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..network import Network
from ..parts.synapse import ChannelAffine, ChannelNorm, parameters_of
from .activity import Activity
from .moments import Moments


class Measured:
    """Weights, batch norms and statistics of a trained network.

    Args:
        network: trained, not compressed.
        moments: of its synapses' inputs, as far as there are any.
        activity: of its channels, as far as the options asked for it.
    """

    def __init__(
        self, network: Network, moments: Mapping[str, Moments], activity: Activity
    ) -> None:
        self.network = network
        self.activity = activity
        self.synapses = {s.name: s for s in network.declaration.synapses}
        self.groups = {group.name: group for group in network.declaration.groups}
        self._moments = moments

    def has_moments(self, name: str) -> bool:
        """Whether there are second moments of what enters a synapse."""
        return name in self._moments

    def module(self, name: str) -> nn.Module:
        """What holds the weight."""
        return self.network.get_submodule(self.synapses[name].weight)

    def weight(self, name: str) -> Tensor:
        """Trained weight [C_out, C_in, ...]."""
        return parameters_of(self.module(name))[0]

    def bias(self, name: str) -> Tensor:
        """Trained bias [C_out]; zeros where there is none."""
        weight, bias = parameters_of(self.module(name))
        return weight.new_zeros(len(weight)) if bias is None else bias

    def norm(self, name: str) -> tuple[Tensor, Tensor]:
        """Scale and offset [C_out] of the batch norm behind a synapse; one and zero without."""
        path = self.synapses[name].norm
        if path is None:
            weight = self.weight(name)
            return weight.new_ones(len(weight)), weight.new_zeros(len(weight))
        norm = self.network.get_submodule(path)
        assert isinstance(norm, ChannelNorm | ChannelAffine)
        scale, offset = norm.folded()
        return scale.detach(), offset.detach()

    def reading(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight [C_out, D], batch norm folded in, and what its errors are weighed by, [D, D]."""
        scale, _ = self.norm(name)
        return self.weight(name).flatten(1) * scale[:, None], self.products(name)

    def takes_shift(self, name: str) -> bool:
        """Whether a constant can be added to a synapse's output: a bias or a batch norm does."""
        if parameters_of(self.module(name))[1] is not None:
            return True
        path = self.synapses[name].norm
        return path is not None and isinstance(self.network.get_submodule(path), ChannelNorm)

    def columns(self, name: str, kept: Tensor | None) -> Tensor:
        """Numbers within a row [C_in * k * k] of the weights that read the kept channels."""
        weight = self.weight(name)
        if kept is None:
            return torch.arange(weight[0].numel())
        kernel = weight[0, 0].numel()
        return (kept[:, None] * kernel + torch.arange(kernel)).flatten()

    def means(self, name: str) -> Tensor:
        """Mean of each input number, [D]; only where there are moments."""
        return torch.from_numpy(self._moments[name].means)

    def products(self, name: str) -> Tensor:
        """What errors are weighed by [D, D]: the covariance, where the mean can be made up for."""
        products = torch.from_numpy(self._moments[name].products).double()
        if not self.takes_shift(name):
            return products
        means = self.means(name).double()
        return products - torch.outer(means, means)

    def lost_mean(self, name: str, kept: Tensor) -> Tensor | None:
        """What a synapse gives less, on average, without the channels that left, [C_out].

        None where no mean is known or nothing takes a shift.
        """
        means = self.activity.inputs.get(name)
        if means is None or not self.takes_shift(name):
            return None
        weight = self.weight(name)
        lost = torch.from_numpy(means).to(weight, copy=True)
        lost[self.columns(name, kept)] = 0
        return weight.flatten(1) @ lost
