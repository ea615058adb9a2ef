"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...spaces.errors import RunFailed
from ...svtmodels.network import Network
from ..accuracy import accuracy
from ..data.dataset import ImageData
from ..data.preprocessing import Preprocessing
from .augment import augment
from .recipe import Recipe


@dataclass(frozen=True, slots=True)
class Progress:
    """What one epoch came to."""

    epoch: int
    loss: float
    learning_rate: float
    accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The curve of a training run; `accuracy` is that of the last epoch on the search split."""

    accuracy: float
    curve: list[Progress] = field(default_factory=list)


def train(
    network: Network,
    data: ImageData,
    judged: ImageData,
    preprocessing: Preprocessing,
    recipe: Recipe,
    seed: int = 0,
    report: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Train in place; the network ends in eval mode.

    The last epoch's weights are kept, not the best epoch's: choosing by accuracy on the search
    split would make that split part of the training.

    Args:
        network: float32.
        data: training images.
        judged: images that the curve shows the accuracy on.
        preprocessing: from pixels to input.
        recipe: how.
        seed: of order and augmentation.
        report: called after every epoch.

    Raises:
        RunFailed: the loss became NaN or infinite.
    """
    generator = torch.Generator().manual_seed(seed)
    images, labels = preprocessing.apply(data.images), torch.from_numpy(data.labels.copy())
    optimiser = torch.optim.AdamW(_groups(network, recipe), lr=recipe.learning_rate)
    steps = max(len(data) // recipe.batch_size, 1)
    curve = []
    for epoch in range(recipe.epochs):
        started = time.perf_counter()
        network.train()
        total = 0.0
        for step, rows in enumerate(_batches(len(data), recipe.batch_size, generator)):
            rate = recipe.learning_rate_at(epoch + step / steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
            batch = augment(images[rows], recipe.crop_padding, recipe.flip, generator)
            total += _step(network, optimiser, batch, labels[rows], recipe)
        network.eval()
        done = Progress(
            epoch + 1,
            total / steps,
            recipe.learning_rate_at(epoch + 1),
            accuracy(network, judged, preprocessing),
            time.perf_counter() - started,
        )
        curve.append(done)
        if report is not None:
            report(done)
    return TrainingResult(curve[-1].accuracy, curve)


def _step(
    network: Network,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
) -> float:
    loss = F.cross_entropy(network(images), labels, label_smoothing=recipe.label_smoothing)
    if not torch.isfinite(loss):
        raise RunFailed("the training loss is no longer finite; lower recipe.learning_rate.")
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
    optimiser.step()
    return float(loss.detach())


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Random whole batches; the rest of the images waits for another epoch's order."""
    order = torch.randperm(count, generator=generator)
    size = min(size, count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]


def _groups(network: Network, recipe: Recipe) -> list[dict[str, object]]:
    matrices = [p for p in network.parameters() if p.dim() > 1]
    vectors = [p for p in network.parameters() if p.dim() <= 1]
    return [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
