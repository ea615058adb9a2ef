"""What one pass over the gate's images says of a candidate's accuracy, before it is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from .drift import Comparer, Traces, mean
from .drop_model import LAYER
from .runner import Runner
from .watched_run import watched_run

ONE_BATCH = 256
"""Images of the gate, up to which they are one batch whatever the batch size is: a layer's drift is
final before the next one runs, and a batch's last bits are the same for every batch size."""

TooMuch = Callable[[Mapping[str, float]], bool]
"""Whether lower bounds of signals rule a candidate out already."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What the gate's images say.

    Attributes:
        measures: ``drift, drift_last, flips, flips_last, kl, disagreement`` (see `Evaluation`);
            of a pass that ended early, ``drift`` and ``flips`` alone: lower bounds, the layers
            that did not run counted as 0.
        layers: drift of every neuron layer that was compared.
    """

    measures: Mapping[str, float]
    layers: Mapping[str, float]

    @property
    def all(self) -> dict[str, float]:
        """Everything that a `DropModel` may have a weight for."""
        return {**self.measures, **{LAYER + name: drift for name, drift in self.layers.items()}}


class GateStage:
    """Runs candidates on the gate's images.

    Args:
        inputs: of the network, [B, ...].
        traces: of the trained network on them.
        logits: of the trained network on them, [B, K].
        batch_size: images per pass where they are more than `ONE_BATCH`.
    """

    def __init__(
        self, inputs: Tensor, traces: Traces, logits: NDArray[Any], batch_size: int
    ) -> None:
        self._inputs = inputs
        self._traces = traces
        self._logits = torch.tensor(logits, dtype=torch.float64)
        self._batch = gate_batch(len(inputs), batch_size)

    @property
    def images(self) -> int:
        """Number of the gate's images."""
        return len(self._inputs)

    @torch.inference_mode()
    def __call__(self, runner: Runner, too_much: TooMuch | None = None) -> Signals:
        """Signals of a candidate.

        Args:
            runner: of its network.
            too_much: asked behind every layer; the pass ends as soon as it says so. None: the
                pass runs to its end, as it does where the images are several batches.
        """

        def judge(comparer: Comparer) -> None:
            if too_much is not None and too_much(_so_far(comparer).all):
                raise _EnoughSeen

        told = None if too_much is None or self._batch < self.images else judge
        comparer = Comparer(runner.network, self._traces, told)
        try:
            logits = watched_run(runner, self._inputs, self._batch, comparer)
        except _EnoughSeen:
            return _so_far(comparer)
        return self._whole(comparer, logits.double())

    def _whole(self, comparer: Comparer, logits: Tensor) -> Signals:
        drifts, flips = list(comparer.drifts().values()), list(comparer.flips().values())
        measures = {
            "drift": mean(drifts, len(drifts)),
            "drift_last": drifts[-1] if drifts else 0.0,
            "flips": mean(flips, len(flips)),
            "flips_last": flips[-1] if flips else 0.0,
            "kl": _divergence(self._logits, logits),
            "disagreement": _disagreement(self._logits, logits),
        }
        return Signals(measures, comparer.drifts())


def gate_batch(images: int, batch_size: int) -> int:
    """Images per pass of the gate's images."""
    return max(images, 1) if images <= ONE_BATCH else batch_size


class _EnoughSeen(Exception):
    """Ends a pass whose verdict is sure."""


def _so_far(comparer: Comparer) -> Signals:
    drifts, flips = comparer.drifts(), comparer.flips()
    # A layer that is still to come counts, though it may have nothing left to compare.
    layers = len(drifts) + comparer.awaited
    measures = {"drift": mean(drifts.values(), layers), "flips": mean(flips.values(), layers)}
    return Signals(measures, drifts)


def _divergence(parent: Tensor, logits: Tensor) -> float:
    """Mean KL divergence in nats of softmax(logits) from softmax(parent), both [B, K]."""
    expected, found = (each.log_softmax(1) for each in (parent, logits))
    divergence = (expected.exp() * (expected - found)).sum(1)
    return max(float(divergence.sum()) / max(len(divergence), 1), 0.0)


def _disagreement(parent: Tensor, logits: Tensor) -> float:
    """Share of images [B] whose most likely class is another one."""
    return int((parent.argmax(1) != logits.argmax(1)).sum()) / max(len(logits), 1)
