"""Residual blocks that may process only some of their tokens."""

from __future__ import annotations

import abc

from torch import Tensor, nn
from typing_extensions import override

from .step_masks import membranes_in_place
from .tokens import Places, Survivors, TokenSelector, scatter_tokens


class TokenBlock(nn.Module, abc.ABC):
    """A block of which any set of tokens may pass, on tokens [T, B, N, C] or maps [T, B, H, W, C].

    Args:
        selector: chooses the tokens; the others skip the block. None: all pass.
    """

    def __init__(self, selector: TokenSelector | None = None) -> None:
        super().__init__()
        self.selector = selector

    def forward(self, x: Tensor, survivors: Survivors | None = None) -> Tensor:
        """Residual stream to residual stream.

        Args:
            x: residual stream.
            survivors: of the pass, where tokens leave for good.
        """
        if self.selector is None:
            return self.process(self.everywhere(x))
        kept = self.selector(x.flatten(2, -2), survivors)
        tokens = self.everywhere(x).flatten(2, -2)
        places = Places(kept, self.selector.grid)
        with membranes_in_place(self, places):
            passed = self.process_some(places.collect(tokens), places)
        return scatter_tokens(tokens, kept, passed).reshape(x.shape)

    def everywhere(self, x: Tensor) -> Tensor:
        """What no token skips, behind the choice and before the rest."""
        return x

    def process_some(self, x: Tensor, places: Places) -> Tensor:
        """The block itself, on tokens [T, B, k, C] that lie at these places."""
        return self.process(x)

    @abc.abstractmethod
    def process(self, x: Tensor) -> Tensor:
        """The block itself, on all that `x` holds."""


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

    @property
    def attention(self) -> nn.Module:
        """Its attention, whatever its official name."""
        return self.get_submodule(self._attention)

    @override
    def process(self, x: Tensor) -> Tensor:
        """Spike sums [T, B, n, C] to spike sums."""
        x = x + self.attention(x)
        return x + self.mlp(x)
