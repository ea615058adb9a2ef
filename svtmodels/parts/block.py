"""Residual blocks that may process only some of their tokens."""

from __future__ import annotations

import abc

from torch import Tensor, nn

from .tokens import TokenSelector, gather_tokens, scatter_tokens


class TokenBlock(nn.Module, abc.ABC):
    """A block whose layers are pointwise, so that any set of tokens may pass.

    Args:
        selector: chooses the tokens; the others skip the block. None: all pass.
    """

    def __init__(self, selector: TokenSelector | None = None) -> None:
        super().__init__()
        self.selector = selector

    def forward(self, x: Tensor) -> Tensor:
        """Residual stream [T, B, N, C] to residual stream."""
        if self.selector is None:
            return self.process(x)
        kept = self.selector(x)
        return scatter_tokens(x, kept, self.process(gather_tokens(x, kept)))

    @abc.abstractmethod
    def process(self, x: Tensor) -> Tensor:
        """The block itself, on the tokens that pass."""


class SpikeSumBlock(TokenBlock):
    """SEW residual: spikes are added, ``x + attention(x)``, then ``x + mlp(x)``.

    Args:
        attention: of tokens [T, B, N, C], ends in a neuron.
        mlp: likewise.
        selector: chooses the tokens.
        name: official one of the attention.
    """

    def __init__(
        self,
        attention: nn.Module,
        mlp: nn.Module,
        selector: TokenSelector | None = None,
        name: str = "attn",
    ) -> None:
        super().__init__(selector)
        self._attention = name
        self.add_module(name, attention)
        self.mlp = mlp

    def process(self, x: Tensor) -> Tensor:
        """Spike sums [T, B, n, C] to spike sums."""
        x = x + self.get_submodule(self._attention)(x)
        return x + self.mlp(x)
