"""Which tokens a block processes: the spatio-temporal information score of TP-Spikformer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WINDOW = 3


class TokenSelector(nn.Module):
    """Keeps the most informative tokens of a block's input, one choice per image for all steps.

    Args:
        keep: number of kept tokens.
        grid: (height, width) of the token grid, raster order.
    """

    def __init__(self, keep: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.keep = keep
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """Indices [B, keep], ascending, of the tokens of [T, B, N, C] to process."""
        score = information_score(x, self.grid)
        # A stable sort: equal scores (blank image regions) keep raster order on every machine.
        order = torch.sort(score, dim=1, descending=True, stable=True).indices
        return order[:, : self.keep].sort(dim=1).values


def information_score(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """IRToP score [B, N] of tokens [T, B, N, C] (arXiv 2603.00527, as the paper describes it).

    Spatial: one minus the cosine between a token and the mean of its 3x3 window. Temporal: L1
    distance to the previous step (to zero at the first). Each is normalised over the tokens of
    a step and both are summed with equal weight, then over the steps, so that one mask serves
    all steps. A token that is zero carries nothing: its spatial score is 0.
    """
    spatial = _share(_spatial(x, grid))
    previous = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    temporal = _share((x - previous).abs().sum(-1))
    return (spatial + temporal).sum(0)


def score_macs(tokens: int, channels: int, steps: int) -> int:
    """Multiply-accumulates of `information_score` for one image.

    Per token, channel and step: the window's sum, three products of the cosine, one difference.
    """
    return tokens * channels * steps * (_WINDOW**2 + 4)


def gather_tokens(x: Tensor, kept: Tensor) -> Tensor:
    """Kept tokens [T, B, k, C] of [T, B, N, C] for indices [B, k]."""
    return x.gather(2, _index(x, kept))


def scatter_tokens(x: Tensor, kept: Tensor, values: Tensor) -> Tensor:
    """Copy of [T, B, N, C] with the kept tokens replaced."""
    return x.scatter(2, _index(x, kept), values)


def _index(x: Tensor, kept: Tensor) -> Tensor:
    return kept[None, :, :, None].expand(x.shape[0], -1, -1, x.shape[-1])


def _spatial(x: Tensor, grid: tuple[int, int]) -> Tensor:
    steps, batch, _, channels = x.shape
    maps = x.reshape(steps * batch, *grid, channels).permute(0, 3, 1, 2)
    pad = _WINDOW // 2
    mean = F.avg_pool2d(maps, _WINDOW, stride=1, padding=pad, count_include_pad=False)
    mean = mean.permute(0, 2, 3, 1).reshape(x.shape)
    norms = x.norm(dim=-1) * mean.norm(dim=-1)
    cosine = (x * mean).sum(-1) / norms.clamp_min(torch.finfo(x.dtype).tiny)
    return torch.where(norms > 0, 1 - cosine, torch.zeros_like(cosine)).clamp_min(0)


def _share(score: Tensor) -> Tensor:
    total = score.sum(dim=-1, keepdim=True)
    return score / total.clamp_min(torch.finfo(score.dtype).tiny)
