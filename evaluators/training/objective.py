"""What training minimises: cross-entropy with smoothed labels, of mixed images or plain ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...svtmodels.network import Network
from .recipe import Recipe

_TET_MEAN = 1.0
"""What TET draws all logits to: the threshold of the neurons (architectures 2)."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a batch of images shows.

    Attributes:
        labels: int64 [B].
        partners: labels of the images that were mixed in, int64 [B]; None where none were.
        share: of the first images in a mixed one, 0 to 1.
    """

    labels: Tensor
    partners: Tensor | None = None
    share: float = 1.0


def mix(
    images: Tensor, labels: Tensor, alpha: float, generator: torch.Generator
) -> tuple[Tensor, Target]:
    """Each image mixed with another of its batch: the batch in reverse order.

    Source: mixup, Zhang et al. 2018; one share per batch.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    share = float(np.random.default_rng(seed).beta(alpha, alpha))
    mixed = images * share + images.flip(0) * (1 - share)
    return mixed, Target(labels, labels.flip(0), share)


def loss_of(network: Network, images: Tensor, target: Target, recipe: Recipe) -> Tensor:
    """Scalar loss of a batch.

    Args:
        network: in train mode.
        images: its input, on its device.
        target: what the images show.
        recipe: says which loss, and the precision of activations.
    """
    reduced = recipe.precision == "bfloat16"
    with torch.autocast(images.device.type, torch.bfloat16, enabled=reduced):
        logits = network.per_step(images) if recipe.loss == "tet" else network(images)
    logits = logits.float()
    fit = _cross_entropy(logits, target.labels, recipe)
    if target.partners is not None:
        other = _cross_entropy(logits, target.partners, recipe)
        fit = target.share * fit + (1 - target.share) * other
    if recipe.loss == "mean":
        return fit
    # TET: (1 - lambda) mean_t CE(o_t) + lambda MSE(o_t, 1), Deng et al. 2022.
    spread = F.mse_loss(logits, torch.full_like(logits, _TET_MEAN))
    return (1 - recipe.tet_weight) * fit + recipe.tet_weight * spread


def _cross_entropy(logits: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """Of logits [B, K], or of those of every step, [B, T, K]."""
    labels = labels.to(logits.device)
    if logits.dim() == 3:
        labels = labels[:, None].expand(logits.shape[:2])
        logits = logits.transpose(1, 2)
    return F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
