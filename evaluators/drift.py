"""Membrane drift: how far a candidate's neurons run from the trained network's.

For each neuron layer the relative L1 change of the membrane potential before reset, over sampled
neurons of the calibration images; the mean over layers is the gate's measure (AQ4SViT).
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from ..spaces.errors import BadInput
from ..svtmodels.declaration import NeuronLayer
from ..svtmodels.engine.prefix import Images
from ..svtmodels.network import Network
from ..svtmodels.parts.neuron import Neuron
from .engines import PLAIN
from .runner import Runner

GATE = "gate"
"""How the images of the gate begin to be called, batch by batch."""
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
    """

    image: NDArray[np.int64]
    position: NDArray[np.int64]
    channel: NDArray[np.int64]
    potential: NDArray[Any]


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
    _run(runner or Runner(network, PLAIN), inputs, batch_size, recorder)
    return recorder.traces()


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
    recorder = _Comparer(network, traces)
    _run(runner or Runner(network, PLAIN), inputs, batch_size, recorder)
    return recorder.drifts()


def mean_drift(drifts: Mapping[str, float]) -> float:
    """Mean over the layers."""
    return sum(drifts.values()) / max(len(drifts), 1)


class _Recorder(abc.ABC):
    """Sees the input currents [T, B, P, C] of every neuron layer of one batch."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.start = 0

    def batch(self, start: int) -> None:
        """The images from this one on come next."""
        self.start = start

    @abc.abstractmethod
    def layer(self, layer: NeuronLayer, neuron: Neuron, currents: Tensor) -> None:
        """Take in what enters a layer."""

    @abc.abstractmethod
    def selected(self, site: str, kept: Tensor) -> None:
        """Take in the token indices, [B, k] or [T, B, k], that a block processes."""

    def noted(self) -> Any:
        """What was noted of this batch so far."""
        raise AssertionError("what this recorder notes is never reused")

    def replay(self, noted: Any) -> None:
        """Note what was noted of this batch before."""
        raise AssertionError("what this recorder notes is never reused")


class _Sampler(_Recorder):
    def __init__(self, network: Network, images: int, samples: int, seed: int) -> None:
        super().__init__(network)
        self._images = images
        self._samples = samples
        self._generator = np.random.default_rng(seed)
        self._chosen: dict[str, NDArray[np.int64]] = {}
        self._potentials: dict[str, list[Tensor]] = {}
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
        potential = neuron.potential(picked)
        self._potentials.setdefault(layer.name, []).append(potential)

    def selected(self, site: str, kept: Tensor) -> None:
        raise AssertionError(f"the trained network selects no tokens, but {site} did")

    def traces(self) -> Traces:
        return {
            name: LayerTrace(*self._coordinates(name), torch.cat(parts, 1).numpy())
            for name, parts in self._potentials.items()
        }

    def _coordinates(
        self, name: str
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        # Views into one array until here, which could only be pickled by copying.
        strided = np.unravel_index(self._chosen[name], self._shapes[name])
        image, position, channel = map(np.ascontiguousarray, strided)
        return image, position, channel


class _Comparer(_Recorder):
    def __init__(self, network: Network, traces: Traces) -> None:
        super().__init__(network)
        self._traces = traces
        self._places: dict[str, NDArray[np.int64]] = {}
        self._present: dict[str, Tensor] = {}
        self._change: dict[str, float] = {}
        self._reference: dict[str, float] = {}
        self._noted: list[tuple[str, float, float]] = []

    @override
    def batch(self, start: int) -> None:
        super().batch(start)
        self._noted = []

    @override
    def noted(self) -> tuple[tuple[str, float, float], ...]:
        return tuple(self._noted)

    @override
    def replay(self, noted: Sequence[tuple[str, float, float]]) -> None:
        for name, change, reference in noted:
            self._note(name, change, reference)

    def selected(self, site: str, kept: Tensor) -> None:
        tokens = next(s.tokens for s in self.network.declaration.tokens if s.name == site)
        if kept.dim() == 3:
            present = torch.zeros(*kept.shape[:2], tokens, dtype=torch.bool)
            self._present[site] = present.scatter_(2, kept, True)
            return
        places = torch.full((len(kept), tokens), -1)
        places.scatter_(1, kept, torch.arange(kept.shape[1]).expand_as(kept))
        self._places[site] = places.numpy()

    def layer(self, layer: NeuronLayer, neuron: Neuron, currents: Tensor) -> None:
        trace = self._traces[layer.name]
        image = trace.image - self.start
        here = (image >= 0) & (image < currents.shape[1])
        image, position, channel = image[here], trace.position[here], trace.channel[here]
        position = self._position(layer, image, position)
        channel = self._channel(layer, channel)
        alive = (position >= 0) & (channel >= 0)
        picked = currents[:, image[alive], position[alive], channel[alive]]
        potential = neuron.potential(picked)
        steps = currents.shape[0]
        parent = torch.from_numpy(trace.potential[:steps, here][:, alive])
        present = self._present.get(layer.tokens or "")
        if present is not None:
            # Masks by step leave every neuron in its place; those whose token is out do not count.
            there = present[:, image[alive], position[alive]]
            potential, parent = potential * there, parent * there
        change = float((potential - parent).abs().sum(dtype=torch.float64))
        reference = float(parent.abs().sum(dtype=torch.float64))
        self._note(layer.name, change, reference)

    def drifts(self) -> dict[str, float]:
        return {
            name: self._change[name] / reference
            for name, reference in self._reference.items()
            if reference > 0
        }

    def _note(self, name: str, change: float, reference: float) -> None:
        self._change[name] = self._change.get(name, 0.0) + change
        self._reference[name] = self._reference.get(name, 0.0) + reference
        self._noted.append((name, change, reference))

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


def _run(runner: Runner, inputs: Tensor, batch_size: int, recorder: _Recorder) -> None:
    network, program = runner.network, runner.program
    layers = {layer.name: layer for layer in network.declaration.neurons}

    def see(path: str, currents: Tensor) -> None:
        neuron: Any = network.get_submodule(path)
        recorder.layer(layers[path], neuron, currents)

    # Hooks see what runs as plain modules, the watcher what the program runs.
    watching = nullcontext() if program is None else program.watched(see)
    hooks = [_watch_neurons(network, layer, recorder) for layer in network.declaration.neurons]
    hooks += [_watch_selector(network, site, recorder) for site in network.processed_tokens]
    try:
        with watching:
            for start in range(0, len(inputs), batch_size):
                recorder.batch(start)
                batch = inputs[start : start + batch_size]
                images = Images(f"{GATE} {start} {len(batch)}", np.arange(len(batch)))
                runner(batch, images, recorder)
    finally:
        for hook in hooks:
            hook.remove()


def _watch_neurons(network: Network, layer: NeuronLayer, recorder: _Recorder) -> Any:
    neuron = network.get_submodule(layer.name)

    def watch(module: Any, inputs: tuple[Tensor, ...]) -> None:
        currents = inputs[0]
        steps, batch, *_, channels = currents.shape
        recorder.layer(layer, module, currents.reshape(steps, batch, -1, channels))

    return neuron.register_forward_pre_hook(watch)


def _watch_selector(network: Network, site: str, recorder: _Recorder) -> Any:
    selector = network.get_submodule(f"{site}.selector")

    def watch(module: Any, inputs: Any, kept: Tensor) -> None:
        recorder.selected(site, kept)

    return selector.register_forward_hook(watch)
