"""Membrane drift: how far a candidate's neurons run from the trained network's.

For each neuron layer the relative L1 change of the membrane potential before reset, over sampled
neurons of the calibration images; the mean over layers is the gate's measure (AQ4SViT). Beside it
the share of those neurons' spikes that are others than the trained network's (flips).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from ..spaces.errors import BadInput
from ..svtmodels.declaration import NeuronLayer
from ..svtmodels.network import Network
from ..svtmodels.parts.neuron import Neuron
from .engines import PLAIN
from .runner import Runner
from .watched_run import Recorder, watched_run

SAMPLES_PER_LAYER = 4096
"""Neurons per layer whose trace is kept, so that memory stays bounded."""


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """Membrane potentials of sampled neurons of one layer of the trained network.

    Attributes:
        image: index [S] of the calibration image.
        position: index [S] on the full grid, raster order.
        channel: index [S] among the full channels.
        potential: float [T, S], before reset.
        fired: spikes [T, S]; those of integer neurons by their level.
    """

    image: NDArray[np.int64]
    position: NDArray[np.int64]
    channel: NDArray[np.int64]
    potential: NDArray[Any]
    fired: NDArray[np.uint8]


Traces = Mapping[str, LayerTrace]
"""Trace of every neuron layer, by its path."""


@torch.inference_mode()
def collect_traces(
    network: Network,
    inputs: Tensor,
    batch_size: int,
    seed: int = 0,
    samples: int = SAMPLES_PER_LAYER,
    runner: Runner | None = None,
) -> Traces:
    """Traces of the trained network on calibration inputs [B, ...].

    See `traces_and_logits`, which gives both and takes the same arguments.
    """
    return traces_and_logits(network, inputs, batch_size, seed, samples, runner)[0]


@torch.inference_mode()
def traces_and_logits(
    network: Network,
    inputs: Tensor,
    batch_size: int,
    seed: int = 0,
    samples: int = SAMPLES_PER_LAYER,
    runner: Runner | None = None,
) -> tuple[Traces, Tensor]:
    """Traces of the trained network on calibration inputs [B, ...], and its logits [B, K].

    Args:
        network: trained, full.
        inputs: calibration images.
        batch_size: images per pass.
        seed: of the sample.
        samples: per layer, at most.
        runner: of the network; None: it runs as plain torch modules.

    Raises:
        BadInput: the network mixes the images of a batch.
    """
    if not network.batch_independent:
        raise BadInput(
            f"{network.architecture} as published mixes the images of a batch, so what is "
            'measured depends on how they are batched; build it with proj_lif_over="T".'
        )
    recorder = _Sampler(network, len(inputs), samples, seed)
    logits = watched_run(runner or Runner(network, PLAIN), inputs, batch_size, recorder)
    return recorder.traces(), logits


@torch.inference_mode()
def layer_drifts(
    network: Network,
    traces: Traces,
    inputs: Tensor,
    batch_size: int,
    runner: Runner | None = None,
) -> dict[str, float]:
    """Drift of every neuron layer of a compressed network from its parent's traces.

    Compared on the kept channels, the kept tokens and the first T' steps; normalised by the
    parent's sum over the same. A layer with nothing left to compare is left out.

    Args:
        network: compressed.
        traces: of its parent.
        inputs: the images of the traces.
        batch_size: images per pass.
        runner: of the network, which may reuse what others left of these images; None: it runs
            as plain torch modules.
    """
    comparer = Comparer(network, traces)
    watched_run(runner or Runner(network, PLAIN), inputs, batch_size, comparer)
    return comparer.drifts()


def mean_drift(drifts: Mapping[str, float]) -> float:
    """Mean over the layers."""
    return mean(drifts.values(), len(drifts))


def mean(values: Iterable[float], count: int) -> float:
    """Mean of values of at least 0, of which some may be missing; 0 of none at all.

    The sum is the exact one, rounded once: that of a part never exceeds that of the whole.
    """
    return math.fsum(values) / max(count, 1)


class _Sampler(Recorder):
    def __init__(self, network: Network, images: int, samples: int, seed: int) -> None:
        super().__init__(network)
        self._images = images
        self._samples = samples
        self._generator = np.random.default_rng(seed)
        self._chosen: dict[str, NDArray[np.int64]] = {}
        self._potentials: dict[str, list[Tensor]] = {}
        self._fired: dict[str, list[Tensor]] = {}
        self._shapes: dict[str, tuple[int, int, int]] = {}

    def layer(self, layer: NeuronLayer, neuron: Neuron, currents: Tensor) -> None:
        if layer.name not in self._chosen:
            shape = (self._images, currents.shape[2], currents.shape[3])
            count = int(np.prod(shape))
            chosen = self._generator.choice(count, min(count, self._samples), replace=False)
            self._chosen[layer.name] = np.sort(chosen)
            self._shapes[layer.name] = shape
        image, position, channel = self._coordinates(layer.name)
        here = (image >= self.start) & (image < self.start + currents.shape[1])
        picked = currents[:, image[here] - self.start, position[here], channel[here]]
        self._potentials.setdefault(layer.name, []).append(neuron.potential(picked))
        self._fired.setdefault(layer.name, []).append(_fired(neuron, picked))

    def selected(self, site: str, kept: Tensor) -> None:
        raise AssertionError(f"the trained network selects no tokens, but {site} did")

    def traces(self) -> Traces:
        return {
            name: LayerTrace(
                *self._coordinates(name),
                torch.cat(parts, 1).numpy(),
                torch.cat(self._fired[name], 1).numpy(),
            )
            for name, parts in self._potentials.items()
        }

    def _coordinates(
        self, name: str
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        # Views into one array until here, which could only be pickled by copying.
        strided = np.unravel_index(self._chosen[name], self._shapes[name])
        image, position, channel = map(np.ascontiguousarray, strided)
        return image, position, channel


@dataclass(frozen=True, slots=True)
class Difference:
    """How a neuron layer differs from the trained network's; sums over what was compared.

    Attributes:
        change: of the potentials, absolute.
        reference: absolute potentials of the trained network.
        flips: spikes that are others.
        compared: neurons times steps.
    """

    change: float = 0.0
    reference: float = 0.0
    flips: int = 0
    compared: int = 0

    def __add__(self, other: Difference) -> Difference:
        """Both together."""
        return Difference(
            self.change + other.change,
            self.reference + other.reference,
            self.flips + other.flips,
            self.compared + other.compared,
        )


class Comparer(Recorder):
    """Compares a compressed network's neurons with its parent's traces, layer by layer.

    Args:
        network: compressed.
        traces: of its parent.
        told: called whenever a layer of a batch has been compared; what it raises ends the pass.
    """

    def __init__(
        self, network: Network, traces: Traces, told: Callable[[Comparer], None] | None = None
    ) -> None:
        super().__init__(network)
        self._traces = traces
        self._told = told
        self._places: dict[str, NDArray[np.int64]] = {}
        self._present: dict[str, Tensor] = {}
        self._differences: dict[str, Difference] = {}
        self._noted: list[tuple[str, Difference]] = []

    @override
    def batch(self, start: int) -> None:
        super().batch(start)
        self._noted = []

    @override
    def noted(self) -> tuple[tuple[str, Difference], ...]:
        return tuple(self._noted)

    @override
    def replay(self, noted: Sequence[tuple[str, Difference]]) -> None:
        for name, difference in noted:
            self._note(name, difference)

    @override
    def selected(self, site: str, kept: Tensor) -> None:
        tokens = next(s.tokens for s in self.network.declaration.tokens if s.name == site)
        if kept.dim() == 3:
            present = torch.zeros(*kept.shape[:2], tokens, dtype=torch.bool)
            self._present[site] = present.scatter_(2, kept, True)
            return
        places = torch.full((len(kept), tokens), -1)
        places.scatter_(1, kept, torch.arange(kept.shape[1]).expand_as(kept))
        self._places[site] = places.numpy()

    @override
    def layer(self, layer: NeuronLayer, neuron: Neuron, currents: Tensor) -> None:
        trace = self._traces[layer.name]
        image = trace.image - self.start
        here = (image >= 0) & (image < currents.shape[1])
        image, position, channel = image[here], trace.position[here], trace.channel[here]
        position = self._position(layer, image, position)
        channel = self._channel(layer, channel)
        alive = (position >= 0) & (channel >= 0)
        picked = currents[:, image[alive], position[alive], channel[alive]]
        potential, fired = neuron.potential(picked), _fired(neuron, picked)
        steps = currents.shape[0]
        parent = torch.from_numpy(trace.potential[:steps, here][:, alive])
        flipped = fired != torch.from_numpy(trace.fired[:steps, here][:, alive])
        compared = flipped.numel()
        present = self._present.get(layer.tokens or "")
        if present is not None:
            # Masks by step leave every neuron in its place; those whose token is out do not count.
            there = present[:, image[alive], position[alive]]
            potential, parent, flipped = potential * there, parent * there, flipped & there
            compared = int(there.sum())
        change = float((potential - parent).abs().sum(dtype=torch.float64))
        reference = float(parent.abs().sum(dtype=torch.float64))
        self._note(layer.name, Difference(change, reference, int(flipped.sum()), compared))

    def drifts(self) -> dict[str, float]:
        """Drift of every layer so far, in the order in which they ran."""
        return {name: d.change / d.reference for name, d in self._compared()}

    def flips(self) -> dict[str, float]:
        """Share of spikes that are others, of the same layers."""
        return {name: d.flips / d.compared for name, d in self._compared()}

    @property
    def awaited(self) -> int:
        """Layers of the trained network that were not seen so far."""
        return len(self._traces) - len(self._differences)

    def _compared(self) -> list[tuple[str, Difference]]:
        """Layers of which something is left to compare."""
        return [(name, d) for name, d in self._differences.items() if d.reference > 0]

    def _note(self, name: str, difference: Difference) -> None:
        before = self._differences.get(name, Difference())
        self._differences[name] = before + difference
        self._noted.append((name, difference))
        if self._told is not None:
            self._told(self)

    def _position(
        self, layer: NeuronLayer, image: NDArray[np.int64], position: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        places = self._places.get(layer.tokens or "")
        return position if places is None else places[image, position]

    def _channel(self, layer: NeuronLayer, channel: NDArray[np.int64]) -> NDArray[np.int64]:
        kept = self.network.kept_channels.get(layer.channels or "")
        if kept is None:
            return channel
        largest = int(max(kept.max(), channel.max(initial=0)))
        places = np.full(largest + 1, -1)
        places[kept.numpy()] = np.arange(len(kept))
        return places[channel]


def _fired(neuron: Any, currents: Tensor) -> Tensor:
    """Spikes [T, S] for currents [T, S]; what integer neurons divide theirs by is taken out."""
    # Not by a call, at which hooks would see these currents as the layer's own.
    spikes = neuron.forward(currents) * getattr(neuron, "norm", 1)
    return spikes.round().to(torch.uint8)
