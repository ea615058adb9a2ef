"""How much each token has to say: the criteria by which blocks choose their tokens.

Every criterion scores an image by itself: what else is in the batch changes nothing. Residual
streams are [T, B, N, C]; the N tokens lie on a grid in raster order.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .token_rule import SMALL_WINDOW, TokenRule

_EPSILON = 1e-8
"""What the official code's cosine takes for the norm of a token of zeros."""


def token_scores(x: Tensor, grid: tuple[int, int], rule: TokenRule, site: str = "") -> Tensor:
    """Scores of tokens [T, B, N, C] by a rule: [B, N] for all steps, or [T, B, N] by step.

    Args:
        x: residual stream.
        grid: (height, width) of the token grid.
        rule: criterion, and whether each step has a mask.
        site: of the block; seeds the random criterion.
    """
    by_step = rule.masks == "step"
    match rule.criterion:
        case "official":
            return official_score(x, grid, rule.window, by_step=by_step)
        case "random":
            order = random_score(site, len(x) if by_step else 1, x.shape[2]).to(x)
            order = order[:, None].expand(-1, x.shape[1], -1)
            return order if by_step else order[0]
        case _:
            score = _BY_STEP[rule.criterion](x, grid)
            return score if by_step else score.sum(0)


def information_score(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """IRToP score [T, B, N] of tokens [T, B, N, C] (arXiv 2603.00527, as the paper describes it).

    Spatial: one minus the cosine between a token and the mean of its 3x3 window. Temporal: L1
    distance to the previous step (to zero at the first). Each is normalised over the tokens of
    a step and both are summed with equal weight; one mask for all steps goes by the sum over the
    steps. A token that is zero carries nothing: its spatial score is 0.
    """
    return _share(_spatial(x, grid)) + _share(_change(x))


def official_score(
    x: Tensor, grid: tuple[int, int], window: int, *, by_step: bool = False
) -> Tensor:
    """Score [B, N] of tokens [T, B, N, C] as the released code of the paper computes it.

    Its window sums all channels, not each by itself: every channel of a window's mean is the same,
    so a channel sum and a box filter give it exactly, without the C^2 convolution of the code
    (methods 3.2). Borders are padded with zeros. Spatial: softmax over tokens of minus the cosine,
    on the mean over steps. Temporal: softmax of the difference of neighbouring steps, each averaged
    over channels, averaged over the gaps; a single step has none.

    Args:
        x: residual stream.
        grid: (height, width) of the token grid.
        window: side of the window.
        by_step: [T, B, N] instead, which the released code does not know: every step by itself,
            and its difference from the one before.
    """
    means = x.mean(-1)
    stream = x if by_step else x.mean(0, keepdim=True)
    sums = stream.sum(-1)
    maps = sums.reshape(-1, 1, *grid)
    around = F.avg_pool2d(maps, window, stride=1, padding=window // 2).reshape(sums.shape)
    # The mean of the window is `around` in each of C channels.
    norms = stream.norm(dim=-1).clamp_min(_EPSILON)
    norms = norms * (around.abs() * x.shape[-1] ** 0.5).clamp_min(_EPSILON)
    spatial = (-sums * around / norms).softmax(-1)
    gaps = (means[1:] - means[:-1]).abs()
    if by_step:
        return spatial + torch.cat([torch.zeros_like(means[:1]), gaps]).softmax(-1)
    return spatial[0] + gaps.mean(0).softmax(-1) if len(gaps) else spatial[0]


def random_score(site: str, steps: int, tokens: int) -> Tensor:
    """Scores [T, N] in [0, 1) that look random, and depend on nothing but site, step and place.

    They come from SHA-256, so that every machine and language can tell them.
    """
    return torch.tensor([_uniform(site, step, tokens) for step in range(steps)])


def score_macs(rule: TokenRule, tokens: int, channels: int, steps: int) -> int:
    """Multiply-accumulates that scoring the tokens of one image takes.

    What is done once per token and step is left out, a window's sum of one number per token
    counts.
    """
    numbers = tokens * channels * steps
    match rule.criterion:
        case "information":
            # The window's sum, three products of the cosine, one difference.
            return numbers * (SMALL_WINDOW**2 + 4)
        case "official" if rule.masks == "step":
            # Sum and norm of every step.
            return 2 * numbers + steps * tokens * rule.window**2
        case "official":
            # Sum of every step, mean over the steps, norm of the mean.
            return 2 * numbers + tokens * channels + tokens * rule.window**2
        case "random":
            return 0
        case _:
            # One sum, of numbers or of their squares.
            return numbers


def _spike_score(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Sum of a token's residual stream: its spikes, or what its membranes hold."""
    return x.sum(-1)


def _energy_score(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Length of a token's vector: a token near zero moves no neuron of its block.

    Ours, not published. Trained CIFAR-10 networks, 1,000 search images, 30 % of the tokens kept in
    every block, against the paper's criterion: Spikformer 65.7 to 54.1 %, QKFormer 58.2 to 49.7 %,
    Spike-Driven Transformer v1 63.1 to 62.1 %, v3 68.2 to 68.3 %; at a thirteenth of its cost. At
    75 % Spikformer is better off with the paper's, 75.0 to 74.0 %.
    """
    return x.norm(dim=-1)


def _spatial(x: Tensor, grid: tuple[int, int]) -> Tensor:
    steps, batch, _, channels = x.shape
    maps = x.reshape(steps * batch, *grid, channels).permute(0, 3, 1, 2)
    pad = SMALL_WINDOW // 2
    mean = F.avg_pool2d(maps, SMALL_WINDOW, stride=1, padding=pad, count_include_pad=False)
    mean = mean.permute(0, 2, 3, 1).reshape(x.shape)
    norms = x.norm(dim=-1) * mean.norm(dim=-1)
    cosine = (x * mean).sum(-1) / norms.clamp_min(torch.finfo(x.dtype).tiny)
    return torch.where(norms > 0, 1 - cosine, torch.zeros_like(cosine)).clamp_min(0)


def _change(x: Tensor) -> Tensor:
    """L1 distance of tokens to the previous step, to zero at the first."""
    previous = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    return (x - previous).abs().sum(-1)


def _share(score: Tensor) -> Tensor:
    total = score.sum(dim=-1, keepdim=True)
    return score / total.clamp_min(torch.finfo(score.dtype).tiny)


@functools.lru_cache(maxsize=256)
def _uniform(site: str, step: int, tokens: int) -> tuple[float, ...]:
    digests = (hashlib.sha256(f"{site}/{step}/{n}".encode()).digest() for n in range(tokens))
    # 24 bits: a float32 holds them exactly.
    return tuple(int.from_bytes(digest[:3], "big") / 2**24 for digest in digests)


_BY_STEP: Mapping[str, Callable[[Tensor, tuple[int, int]], Tensor]] = {
    "information": information_score,
    "spikes": _spike_score,
    "energy": _energy_score,
}
"""Criteria that score each step by itself."""
