"""Losses against their formulas."""

from __future__ import annotations

import pytest
import torch
from evaluated_models import tiny_network
from torch import Tensor

from spikefront.evaluators.training import Recipe
from spikefront.evaluators.training.objective import Target, loss_of, mix
from spikefront.svtmodels.network import Network

LABELS = torch.tensor([0, 2, 1, 1])


def network_and_images() -> tuple[Network, Tensor]:
    network = tiny_network()
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(4, *network.input_shape, generator=generator)
    return network.eval(), images


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Written out, mean over [B, K]."""
    logs = logits.log_softmax(1)
    wanted = torch.nn.functional.one_hot(labels, logits.shape[1]) * (1 - smoothing)
    return -((wanted + smoothing / logits.shape[1]) * logs).sum(1).mean()


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_mixed_images_count_for_both_labels(share: float) -> None:
    network, images = network_and_images()
    recipe = Recipe(label_smoothing=0.2)
    logits = network(images)
    expected = share * cross_entropy(logits, LABELS, 0.2)
    expected += (1 - share) * cross_entropy(logits, LABELS.flip(0), 0.2)
    got = loss_of(network, images, Target(LABELS, LABELS.flip(0), share), recipe)
    torch.testing.assert_close(got, expected)


def test_mixing_reverses_the_batch_and_says_by_how_much() -> None:
    _, images = network_and_images()
    shares = []
    for seed in range(50):
        mixed, target = mix(images, LABELS, 0.5, torch.Generator().manual_seed(seed))
        assert target.partners is not None
        expected = target.share * images + (1 - target.share) * images[[3, 2, 1, 0]]
        torch.testing.assert_close(mixed, expected)
        assert target.partners.tolist() == [1, 1, 2, 0]
        shares.append(target.share)
    # Beta(0.5, 0.5): symmetric, and mostly near the ends.
    assert 0.3 < sum(shares) / 50 < 0.7
    assert sum(share < 0.1 or share > 0.9 for share in shares) > 10


@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_tet_takes_the_logits_of_every_step(weight: float) -> None:
    network, images = network_and_images()
    recipe = Recipe(loss="tet", tet_weight=weight, label_smoothing=0.1)
    steps = network.per_step(images)
    assert steps.shape[:2] == (4, 3)
    fits = [cross_entropy(steps[:, t], LABELS, 0.1) for t in range(3)]
    spread = ((steps - 1.0) ** 2).mean()
    expected = (1 - weight) * sum(fits) / 3 + weight * spread
    got = loss_of(network, images, Target(LABELS), recipe)
    torch.testing.assert_close(got, expected)


def test_bfloat16_reduces_activations_and_not_weights() -> None:
    network, images = network_and_images()
    network.train()
    recipe = Recipe(precision="bfloat16")
    seen: list[torch.dtype] = []
    handle = network.get_submodule("block.0.mlp.fc1_lif").register_forward_hook(
        lambda _, inputs, output: seen.extend([inputs[0].dtype, output.dtype])
    )
    loss = loss_of(network, images, Target(LABELS), recipe)
    loss.backward()
    handle.remove()
    assert seen == [torch.bfloat16, torch.bfloat16]
    assert loss.dtype == torch.float32
    for parameter in network.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is None or parameter.grad.dtype == torch.float32
