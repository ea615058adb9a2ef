"""Which tokens a block processes, and that the others really stay out."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from small_spikformers import ARCHITECTURES, choose, inputs_for, small, watched
from torch import Tensor

from spikefront.spaces import MAGNITUDE
from spikefront.svtmodels import compress
from spikefront.svtmodels.parts.token_rule import TokenRule
from spikefront.svtmodels.parts.token_scores import information_score
from spikefront.svtmodels.parts.tokens import TokenSelector, gather_tokens, scatter_tokens
from spikefront.svtmodels.surgery.prepared import PreparedSurgery

GRIDS = [(4, 4), (3, 5), (1, 6), (1, 1)]


def _spike_sums(steps: int, batch: int, grid: tuple[int, int], channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    shape = (steps, batch, grid[0] * grid[1], channels)
    return torch.poisson(torch.full(shape, 0.7), generator=generator).double()


def _slow_score(x: Tensor, grid: tuple[int, int]) -> list[list[float]]:
    """The score as the paper writes it, one token at a time."""
    steps, batch, tokens, channels = x.shape
    values = x.tolist()
    scores = [[0.0] * tokens for _ in range(batch)]
    for b in range(batch):
        for t in range(steps):
            spatial, temporal = [], []
            for n in range(tokens):
                own = values[t][b][n]
                around = _window_mean(values[t][b], n, grid, channels)
                before = values[t - 1][b][n] if t else [0.0] * channels
                spatial.append(_one_minus_cosine(own, around))
                temporal.append(sum(abs(a - c) for a, c in zip(own, before, strict=True)))
            for n in range(tokens):
                scores[b][n] += _share(spatial, n) + _share(temporal, n)
    return scores


def _window_mean(
    tokens: list[list[float]], n: int, grid: tuple[int, int], channels: int
) -> list[float]:
    row, column = divmod(n, grid[1])
    inside = [
        tokens[r * grid[1] + c]
        for r in range(max(row - 1, 0), min(row + 2, grid[0]))
        for c in range(max(column - 1, 0), min(column + 2, grid[1]))
    ]
    return [sum(token[k] for token in inside) / len(inside) for k in range(channels)]


def _one_minus_cosine(a: list[float], b: list[float]) -> float:
    norms = math.hypot(*a) * math.hypot(*b)
    return 1 - sum(x * y for x, y in zip(a, b, strict=True)) / norms if norms else 0.0


def _share(values: list[float], n: int) -> float:
    return values[n] / sum(values) if sum(values) else 0.0


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("steps", [1, 3])
def test_score_is_the_papers(grid, steps):
    x = _spike_sums(steps, 2, grid, 5)
    x[:, 0, 0] = 0
    got = information_score(x, grid).sum(0)
    assert torch.allclose(got, torch.tensor(_slow_score(x, grid)).double(), atol=1e-9)


def test_each_step_hands_out_one_share_of_each_kind():
    score = information_score(_spike_sums(3, 2, (4, 4), 5), (4, 4)).sum(0)
    assert torch.allclose(score.sum(1), torch.full((2,), 6.0).double())


def test_a_blank_image_scores_zero_everywhere():
    score = information_score(torch.zeros(3, 2, 16, 5), (4, 4)).sum(0)
    assert torch.equal(score, torch.zeros(2, 16))


def test_the_odd_token_out_is_kept_first():
    x = torch.zeros(2, 1, 16, 4)
    x[..., 0] = 1
    x[:, :, 9] = torch.tensor([0.0, 3.0, 0.0, 0.0])
    assert TokenSelector(1, (4, 4))(x).tolist() == [[9]]


def test_kept_tokens_are_the_best_in_raster_order():
    x = _spike_sums(3, 4, (4, 4), 5)
    score = information_score(x, (4, 4)).sum(0)
    kept = TokenSelector(6, (4, 4), TokenRule("information"))(x)
    assert kept.shape == (4, 6)
    for image in range(4):
        best = sorted(range(16), key=lambda n, image=image: -score[image, n].item())[:6]
        assert kept[image].tolist() == sorted(best)


def test_equal_scores_keep_raster_order():
    assert TokenSelector(5, (4, 4))(torch.zeros(2, 3, 16, 4)).tolist() == [[0, 1, 2, 3, 4]] * 3
    # Far more tokens than an unstable sort would leave in order by luck.
    assert TokenSelector(40, (32, 32))(torch.zeros(1, 1, 1024, 2)).tolist() == [list(range(40))]


def test_an_image_is_scored_by_itself():
    x = _spike_sums(3, 4, (4, 4), 5)
    kept = TokenSelector(6, (4, 4), TokenRule("information"))(x)
    alone = [
        TokenSelector(6, (4, 4), TokenRule("information"))(x[:, image : image + 1])
        for image in range(4)
    ]
    assert torch.equal(torch.cat(alone), kept)


def test_gather_and_scatter_are_inverse():
    x = _spike_sums(3, 2, (4, 4), 5)
    kept = TokenSelector(6, (4, 4), TokenRule("information"))(x)
    few = gather_tokens(x, kept)
    assert few.shape == (3, 2, 6, 5)
    for image in range(2):
        assert torch.equal(few[:, image], x[:, image, kept[image]])
    assert torch.equal(scatter_tokens(x, kept, few), x)
    changed = scatter_tokens(x, kept, few + 100)
    assert torch.equal(gather_tokens(changed, kept), few + 100)
    assert (changed != x).any(-1).sum() == few.shape[:3].numel()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_keeping_every_token_changes_nothing(architecture):
    network = small(architecture)
    x = inputs_for(network)
    logits = network(x)
    selector = TokenSelector(16, (4, 4))
    for block in network.get_submodule("block").children():
        assert getattr(block, "selector") is None  # noqa: B009
        setattr(block, "selector", selector)  # noqa: B010
    assert torch.equal(network(x), logits)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_get_really_fewer_tokens(architecture):
    network = small(architecture)
    candidate = choose(network, token={"block.0": 5, "block.1": 1})
    compressed = compress(network, candidate)
    names = [name for name, _ in compressed.named_modules() if name]
    with torch.no_grad(), watched(compressed, names) as seen:
        compressed(inputs_for(network, batch=3))
    shapes = {name: tuple(inputs.shape) for name, (inputs, _) in seen.items()}
    for block, tokens in (("block.0", 5), ("block.1", 1)):
        layers = {name for name in shapes if name.startswith((f"{block}.attn", f"{block}.mlp"))}
        assert {f"{block}.attn", f"{block}.attn.proj_lif", f"{block}.mlp.fc2_lif"} <= layers
        assert {shapes[name][:3] for name in layers} == {(4, 3, tokens)}
        assert shapes[block] == (4, 3, 16, 32)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_stopped_token_passes_its_block_untouched(architecture):
    network = small(architecture)
    compressed = compress(network, choose(network, token={"block.0": 5}))
    with torch.no_grad(), watched(compressed, ["block.0"]) as seen:
        compressed(inputs_for(network, batch=3))
    before, after = seen["block.0"]
    kept = TokenSelector(5, (4, 4))(before)
    stopped = torch.ones(3, 16, dtype=torch.bool).scatter(1, kept, False)
    assert stopped.sum() == 3 * 11
    assert torch.equal(after[:, stopped], before[:, stopped])
    assert not torch.equal(after[:, ~stopped], before[:, ~stopped])


def test_a_token_stopped_by_one_block_may_be_processed_by_the_next():
    network = small()
    # A stream of spike sums only grows, and with it the default's lead of those that were chosen.
    surgery = PreparedSurgery(network, replace(MAGNITUDE, tokens="information"))
    compressed = compress(network, choose(network, token={"block.0": 4, "block.1": 4}), surgery)
    selectors = ["block.0.selector", "block.1.selector"]
    with torch.no_grad(), watched(compressed, selectors) as seen:
        compressed(inputs_for(network, batch=8))
    first, second = (_chosen(seen[name][1]) for name in selectors)
    assert second - first


def _chosen(kept: Tensor) -> set[tuple[int, int]]:
    """(image, token) of all tokens that are processed."""
    return {(image, token) for image, row in enumerate(kept.tolist()) for token in row}
