"""Which tokens a block processes, and where they lie on its grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .token_rule import TokenRule
from .token_scores import token_scores


@dataclass
class Survivors:
    """Tokens that are still in, within one sequence of blocks of one pass.

    Attributes:
        kept: indices of what the latest block that chose processed, as `TokenSelector` gives
            them; None before.
    """

    kept: Tensor | None = None


class TokenSelector(nn.Module):
    """Keeps the tokens of a block's input that a rule scores highest.

    Args:
        keep: number of kept tokens.
        grid: (height, width) of the token grid, raster order.
        rule: how they are chosen.
        site: name of the block; makes a random choice another one in every block.
    """

    def __init__(
        self, keep: int, grid: tuple[int, int], rule: TokenRule | None = None, site: str = ""
    ) -> None:
        super().__init__()
        self.keep = keep
        self.grid = grid
        self.rule = rule or TokenRule()
        self.site = site

    def forward(self, x: Tensor, survivors: Survivors | None = None) -> Tensor:
        """Indices, ascending, of the tokens of [T, B, N, C] to process.

        Args:
            x: residual stream.
            survivors: of the pass; read and renewed where tokens leave for good.

        Returns:
            [B, keep] for all steps, or [T, B, keep] where each step has a mask.
        """
        if survivors is None or self.rule.mode == "revisit":
            return self._best(x, None)
        alive = survivors.kept
        if alive is None or self.keep < alive.shape[-1]:
            survivors.kept = alive = self._best(x, alive)
        return alive

    def _best(self, x: Tensor, alive: Tensor | None) -> Tensor:
        score = token_scores(x, self.grid, self.rule, self.site)
        if alive is not None:
            out = torch.full_like(score, -torch.inf)
            score = out.scatter(-1, alive, score.gather(-1, alive))
        # A stable sort: equal scores (blank image regions) keep raster order on every machine.
        order = torch.sort(score, dim=-1, descending=True, stable=True).indices
        return order[..., : self.keep].sort(dim=-1).values


@dataclass(frozen=True)
class Places:
    """Where the tokens that pass a block lie on its grid.

    Attributes:
        kept: indices [B, k] for all steps, or [T, B, k].
        grid: (height, width).
    """

    kept: Tensor
    grid: tuple[int, int]

    def spread(self, values: Tensor) -> Tensor:
        """Tokens [T, B, k, C] on a grid of zeros, [T, B, N, C]."""
        steps, batch, _, channels = values.shape
        tokens = self.grid[0] * self.grid[1]
        return scatter_tokens(values.new_zeros(steps, batch, tokens, channels), self.kept, values)

    def collect(self, x: Tensor) -> Tensor:
        """Tokens [T, B, k, C] of a grid [T, B, N, C]."""
        return gather_tokens(x, self.kept)

    def spread_map(self, values: Tensor) -> Tensor:
        """Tokens [T, B, k, C] on a map of zeros, [T, B, H, W, C]."""
        return self.spread(values).unflatten(2, self.grid)

    def collect_map(self, maps: Tensor) -> Tensor:
        """Tokens [T, B, k, C] of a map [T, B, H, W, C]."""
        return self.collect(maps.flatten(2, 3))


def gather_tokens(x: Tensor, kept: Tensor) -> Tensor:
    """Kept tokens [T, B, k, C] of [T, B, N, C] for indices [B, k] or [T, B, k]."""
    return x.gather(2, _index(x, kept))


def scatter_tokens(x: Tensor, kept: Tensor, values: Tensor) -> Tensor:
    """Copy of [T, B, N, C] with the kept tokens replaced."""
    return x.scatter(2, _index(x, kept), values)


def _index(x: Tensor, kept: Tensor) -> Tensor:
    by_step = kept if kept.dim() == 3 else kept[None]
    return by_step[..., None].expand(x.shape[0], -1, -1, x.shape[-1])
