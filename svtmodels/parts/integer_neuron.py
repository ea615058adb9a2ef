"""The neuron of Spike-Driven Transformer v3: integer spikes of D levels, without a membrane."""

from __future__ import annotations

import enum
from typing import Any

import torch
from spikingjelly.activation_based import surrogate
from torch import Tensor, nn


class Rounding(enum.StrEnum):
    """What becomes of a current between two levels."""

    HALF_EVEN = "half-even"
    """0.5 -> 0, 1.5 -> 2, 2.5 -> 2; the gradient passes at both ends of the range (base file)."""
    HALF_UP = "half-up"
    """0.5 -> 1, 1.5 -> 2, 2.5 -> 3; the gradient passes strictly inside (large file)."""


class IntegerNeuron(nn.Module):
    """``round(clamp(x, 0, levels)) / norm``: n / norm stands for n spikes in `levels` sub-steps.

    Every step is on its own, nothing is kept. Gradients pass straight through inside the range.
    Source: architectures 4.1.

    HALF_EVEN is the spike function of spikingjelly's `ILIFNode`, and what that node gives from
    rest in one step (tested). The node itself is not used: it carries a membrane to the next
    step, which these networks do not have, and that made it 24 times slower. HALF_UP is neither
    the rounding nor the gradient of any of its neurons.

    Args:
        levels: D, the largest spike count.
        norm: what the count is divided by.
        rounding: of currents between two levels.
    """

    def __init__(
        self, levels: int = 4, norm: int = 4, rounding: Rounding = Rounding.HALF_EVEN
    ) -> None:
        super().__init__()
        self.levels = levels
        self.norm = norm
        self.rounding = rounding

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [...] for currents [...]."""
        counts = self._counts(x)
        return counts if self.norm == 1 else counts / self.norm

    def potential(self, currents: Tensor) -> Tensor:
        """What decides over the spikes, [T, ...]: the currents themselves."""
        return currents

    def extra_repr(self) -> str:
        """For printing."""
        return f"levels={self.levels}, norm={self.norm}, rounding={self.rounding}"

    def _counts(self, x: Tensor) -> Tensor:
        if self.rounding is Rounding.HALF_EVEN:
            window = (0.0, float(self.levels))
            return surrogate.MultiLevelSpikeCount.spiking_function(x, self.levels, *window)
        counts = _HalfUp.apply(x, self.levels)
        assert isinstance(counts, Tensor)
        return counts


class _HalfUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, levels: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.levels = levels
        return x.clamp(0, levels).add_(0.5).floor_()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * ((x > 0) & (x < ctx.levels)), None
