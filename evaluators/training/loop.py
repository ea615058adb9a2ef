"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...spaces.errors import RunFailed
from ...svtmodels.network import Network
from ..accuracy import accuracy
from ..data.dataset import ImageData, Pixels
from ..data.preprocessing import Preprocessing
from ..data.stream import ImageStream
from ..engines import PLAIN
from ..runner import Runner
from .augment import augment
from .objective import Target, loss_of, mix
from .policy import vary
from .recipe import Recipe
from .run import Progress, TrainingRun


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The curve of a training run; `accuracy` is that of the last epoch on the search split."""

    accuracy: float
    curve: list[Progress] = field(default_factory=list)


def train(
    network: Network,
    data: ImageData | ImageStream,
    judged: ImageData,
    preprocessing: Preprocessing,
    recipe: Recipe,
    seed: int = 0,
    report: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Train in place; the network ends in eval mode. Arguments are those of `train_run`."""
    run = TrainingRun(network, recipe, seed)
    return train_run(run, data, judged, preprocessing, seed, report)


def train_run(
    run: TrainingRun,
    data: ImageData | ImageStream,
    judged: ImageData,
    preprocessing: Preprocessing,
    seed: int = 0,
    report: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Train to the end of the recipe, from wherever the run stands.

    The last epoch's weights (or their average) are kept, not the best epoch's: choosing by
    accuracy on the search split would make that split part of the training.

    Args:
        run: a new run, or a restored one. Its network ends in eval mode with the weights to keep.
        data: training images.
        judged: images that the curve shows the accuracy on.
        preprocessing: from pixels to input.
        seed: of the order of a stream.
        report: called after every epoch, when the curve holds it.

    Raises:
        RunFailed: the loss became NaN or infinite.
    """
    recipe = run.recipe
    for epoch in range(len(run.curve), recipe.epochs):
        started = time.perf_counter()
        loss = _epoch(run, data, preprocessing, seed, epoch)
        run.kept.eval()
        done = Progress(
            epoch + 1,
            loss,
            recipe.learning_rate_at(epoch + 1),
            accuracy(Runner(run.kept, PLAIN), judged, preprocessing),
            time.perf_counter() - started,
        )
        run.curve.append(done)
        if report is not None:
            report(done)
    run.network.load_state_dict(run.kept.state_dict())
    run.network.eval()
    return TrainingResult(run.curve[-1].accuracy, run.curve)


def _epoch(
    run: TrainingRun,
    data: ImageData | ImageStream,
    preprocessing: Preprocessing,
    seed: int,
    epoch: int,
) -> float:
    """Mean loss of one epoch."""
    recipe = run.recipe
    steps = max(len(data) // recipe.batch_size, 1)
    size = min(recipe.batch_size, len(data))
    run.network.train()
    total, taken = 0.0, 0
    for pixels, labels in _batches(run, data, size, seed, epoch):
        run.set_learning_rate(recipe.learning_rate_at(epoch + taken / steps))
        images, target = _prepare(run, pixels, labels, preprocessing, epoch)
        loss = loss_of(run.network, images.to(run.network.device), target, recipe)
        if not torch.isfinite(loss):
            raise RunFailed("the training loss is no longer finite; lower recipe.learning_rate.")
        run.step(loss)
        total += float(loss.detach())
        taken += 1
    return total / taken


def _prepare(
    run: TrainingRun,
    pixels: Pixels,
    labels: NDArray[np.int64],
    preprocessing: Preprocessing,
    epoch: int,
) -> tuple[Tensor, Target]:
    """Augmented input [B, C, H, W] of a batch, and what it shows."""
    recipe, generator = run.recipe, run.generator
    pixels = vary(pixels, recipe.policy_operations, recipe.policy_magnitude, generator)
    images = augment(preprocessing.apply(pixels), recipe.crop_padding, recipe.flip, generator)
    given = torch.from_numpy(np.array(labels))
    if recipe.mixes_in(epoch):
        return mix(images, given, recipe.mixup, generator)
    return images, Target(given)


def _batches(
    run: TrainingRun, data: ImageData | ImageStream, size: int, seed: int, epoch: int
) -> Iterator[tuple[Pixels, NDArray[np.int64]]]:
    """Whole batches in random order; what is left over waits for another epoch's order."""
    if isinstance(data, ImageStream):
        batches = data.batches(epoch, size, seed)
        yield from ((pixels, labels) for pixels, labels in batches if len(labels) == size)
        return
    order = torch.randperm(len(data), generator=run.generator).numpy()
    for start in range(0, len(data) - size + 1, size):
        rows = order[start : start + size]
        yield data.images[rows], data.labels[rows]
