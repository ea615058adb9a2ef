"""Stochastic depth: in training, images skip a residual branch at random."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """Zeros a branch for whole images, and scales it up for the others; training only.

    The official large file of Spike-Driven Transformer v3 draws once for the whole batch, as its
    library takes the first axis for images, which there is time; here every image has its draw.

    Args:
        rate: probability that an image skips the branch, below 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """[T, B, ...] to the same shape."""
        if not self.training or self.rate == 0:
            return branch
        kept = 1 - self.rate
        shape = (1, branch.shape[1], *(1,) * (branch.dim() - 2))
        return branch * (branch.new_empty(shape).bernoulli_(kept) / kept)

    def extra_repr(self) -> str:
        """For printing."""
        return f"rate={self.rate}"
