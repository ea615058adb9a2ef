"""Rules by which tokens are chosen, each against a second, straightforward implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from network_checks import filled, logits
from packed_files import manifest_of
from small_spikformers import choose, inputs_for
from small_token_networks import (
    FEWER,
    QKFORMER,
    each_mask,
    each_mode,
    each_network,
    prepared_with,
    token_network,
)
from torch import Tensor

from spikefront.spaces import BadInput, CorruptFile
from spikefront.svtmodels import compress, load_packed, save_packed
from spikefront.svtmodels.parts.token_rule import TokenRule
from spikefront.svtmodels.parts.token_scores import (
    official_score,
    random_score,
    score_macs,
    token_scores,
)
from spikefront.svtmodels.parts.tokens import Survivors, TokenSelector

CRITERIA = ("information", "official", "spikes", "energy", "random")
GRID = (4, 4)
each_criterion = pytest.mark.parametrize("criterion", CRITERIA)


def _stream(steps: int = 3, batch: int = 2, tokens: int = 16, channels: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(steps, batch, tokens, channels, generator=generator, dtype=torch.float64)


def _literal(x: Tensor, grid: tuple[int, int], window: int) -> Tensor:
    """The official code as it stands: a full C x C x k x k kernel of ones."""
    steps, batch, tokens, channels = x.shape
    stream = x.mean(0).transpose(1, 2).reshape(batch, channels, *grid)
    kernel = torch.ones(channels, channels, window, window, dtype=x.dtype) / window**2
    around = F.conv2d(stream, kernel, padding=window // 2)
    cosine = F.cosine_similarity(stream, around, dim=1).reshape(batch, tokens)
    score = F.softmax(-cosine, dim=1)
    if steps == 1:
        return score
    means = x.mean(-1)
    gaps = [(means[t + 1] - means[t]).abs() for t in range(steps - 1)]
    return score + F.softmax(torch.stack(gaps).mean(0), dim=1)


@pytest.mark.parametrize("window", [3, 7])
@pytest.mark.parametrize("grid", [(4, 4), (3, 5), (1, 1)])
@pytest.mark.parametrize("steps", [1, 3])
def test_official_score_is_that_of_the_released_code(steps, grid, window):
    x = _stream(steps, tokens=grid[0] * grid[1])
    x[:, 0, 0] = 0
    assert torch.allclose(official_score(x, grid, window), _literal(x, grid, window), atol=1e-12)


def test_official_score_by_step_is_that_of_single_steps_and_gaps():
    x = _stream()
    got = official_score(x, GRID, 3, by_step=True)
    for step in range(3):
        gap = x[step].mean(-1) - x[max(step - 1, 0)].mean(-1)
        expected = _literal(x[step : step + 1], GRID, 3) + gap.abs().softmax(1)
        assert torch.allclose(got[step], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("architecture", "window"), [("spikformer", 3), ("sdt_v1", 3), ("qkformer", 7), ("v3", 3)]
)
def test_the_official_window_is_that_of_the_family(architecture, window):
    network = token_network(architecture)
    candidate = choose(network, token=dict(FEWER[architecture]))
    rules = {
        name: compress(network, candidate, prepared_with(network, tokens=name)).token_rule
        for name in ("official", "information")
    }
    assert rules == {
        "official": TokenRule("official", window=window),
        "information": TokenRule("information", window=3),
    }


def test_plain_scores_are_sums_and_lengths():
    x = _stream()
    for image in range(2):
        for n in range(16):
            numbers = [x[step, image, n].tolist() for step in range(3)]
            spikes = sum(sum(step) for step in numbers)
            energy = sum(sum(v * v for v in step) ** 0.5 for step in numbers)
            got = {c: token_scores(x, GRID, TokenRule(c))[image, n].item() for c in CRITERIA}
            assert got["spikes"] == pytest.approx(spikes)
            assert got["energy"] == pytest.approx(energy)


def test_random_tokens_are_everybodys_but_each_blocks_own():
    x = _stream(tokens=64)
    rule = TokenRule("random")
    kept = [TokenSelector(20, (8, 8), rule, f"block.{i}")(x) for i in range(2)]
    assert torch.equal(kept[0], TokenSelector(20, (8, 8), rule, "block.0")(x[:1, :1]).expand(2, -1))
    assert set(kept[0][0].tolist()) != set(kept[1][0].tolist())
    # Spread like uniform numbers: 4,096 of them have a mean within 5 standard errors.
    scores = random_score("block.0", 1, 4096)[0]
    assert len(set(scores.tolist())) > 4000 and scores.min() >= 0 and scores.max() < 1
    assert abs(float(scores.mean()) - 0.5) < 5 * (1 / 12 / 4096) ** 0.5


@each_criterion
@each_mask
@each_mode
def test_an_image_chooses_by_itself(criterion, masks, mode):
    x = _stream(batch=5).float().contiguous()
    later = _stream(batch=5).flip(2).float().contiguous()
    rule = TokenRule(criterion, masks, mode)

    def chosen(first: Tensor, second: Tensor) -> Tensor:
        survivors = Survivors()
        TokenSelector(9, GRID, rule, "block.0")(first, survivors)
        return TokenSelector(6, GRID, rule, "block.1")(second, survivors)

    together = chosen(x, later)
    alone = [chosen(x[:, i : i + 1], later[:, i : i + 1]) for i in range(5)]
    assert together.shape == ((3, 5, 6) if masks == "step" else (5, 6))
    assert torch.equal(torch.cat(alone, dim=-2), together)


@each_criterion
def test_each_step_keeps_the_best_of_its_own(criterion):
    x = _stream()
    rule = TokenRule(criterion, "step")
    scores = token_scores(x, GRID, rule, "block.0")
    kept = TokenSelector(6, GRID, rule, "block.0")(x)
    for step in range(3):
        for image in range(2):
            best = sorted(range(16), key=lambda n, s=step, i=image: -scores[s, i, n].item())[:6]
            assert kept[step, image].tolist() == sorted(best)
    assert (kept != kept[:1]).any()


def test_what_was_stopped_never_comes_back():
    x = _stream()
    rule = TokenRule(mode="stop")
    survivors = Survivors()
    first = TokenSelector(9, GRID, rule)(x, survivors)
    second = TokenSelector(4, GRID, rule)(_stream().flip(2), survivors)
    third = TokenSelector(7, GRID, rule)(x, survivors)
    for image in range(2):
        assert set(second[image].tolist()) < set(first[image].tolist())
    # It is allowed more than are alive: all of them pass.
    assert torch.equal(third, second)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (TokenRule("information"), 16 * 5 * 3 * 13),
        (TokenRule("official", window=7), 16 * (5 * 3 * 2 + 5 + 49)),
        (TokenRule("official", "step", window=7), 3 * 16 * (5 * 2 + 49)),
        (TokenRule("spikes"), 16 * 5 * 3),
        (TokenRule("energy"), 16 * 5 * 3),
        (TokenRule("random"), 0),
    ],
)
def test_a_criterion_is_charged_for_what_it_looks_at(rule, expected):
    assert score_macs(rule, tokens=16, channels=5, steps=3) == expected


@each_criterion
@each_mask
@each_mode
def test_packed_network_keeps_its_rule_and_every_bit(criterion, masks, mode, tmp_path):
    network = token_network("spikformer")
    prepared = prepared_with(network, tokens=criterion, token_masks=masks, token_mode=mode)
    candidate = choose(network, token=dict(FEWER["spikformer"]))
    compressed = compress(network, candidate, prepared)
    folder = save_packed(compressed, tmp_path / "packed")
    loaded = load_packed(folder)
    assert loaded.token_rule == compressed.token_rule == TokenRule(criterion, masks, mode)
    x = inputs_for(network, batch=3)
    assert torch.equal(logits(loaded, x), logits(compressed, x))


@each_network
def test_packed_networks_of_all_families_stop_by_step(name, tmp_path):
    network = token_network(name)
    prepared = prepared_with(network, tokens="official", token_masks="step", token_mode="stop")
    compressed = compress(network, choose(network, token=dict(FEWER[name])), prepared)
    loaded = load_packed(save_packed(compressed, tmp_path / "packed"))
    assert loaded.token_rule == compressed.token_rule
    x = inputs_for(network, batch=3)
    assert torch.equal(logits(loaded, x), logits(compressed, x))


@pytest.mark.parametrize(
    "damage",
    [
        {"criterion": "informtion"},
        {"masks": 3},
        {"mode": None},
        {"window": 4},
        {"window": "3"},
        {"more": 1},
    ],
)
def test_a_damaged_rule_is_refused(damage, tmp_path):
    network = token_network("spikformer")
    compressed = compress(network, choose(network, token={"block.0": 5}))
    folder = save_packed(compressed, tmp_path / "packed")
    manifest = manifest_of(folder)
    manifest["token_rule"] = {**manifest["token_rule"], **damage}
    _write(folder, manifest)
    with pytest.raises(BadInput, match=r"manifest's .*token rule"):
        load_packed(folder)


def test_a_folder_without_a_rule_is_refused(tmp_path):
    """None can be assumed: another choice of tokens is another network."""
    network = token_network("spikformer")
    compressed = compress(network, choose(network, token={"block.0": 5}))
    folder = save_packed(compressed, tmp_path / "packed")
    manifest = manifest_of(folder)
    del manifest["token_rule"]
    _write(folder, manifest)
    with pytest.raises(CorruptFile, match="token_rule"):
        load_packed(folder)


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_masks_by_step_need_neurons_that_run_over_steps():
    network = filled("qkformer_cifar10", {**QKFORMER, "proj_lif_over": "TB"})
    candidate = choose(network, token=dict(FEWER["qkformer"]))
    compress(network, candidate)
    with pytest.raises(BadInput, match="proj_lif_over"):
        compress(network, candidate, prepared_with(network, token_masks="step"))
