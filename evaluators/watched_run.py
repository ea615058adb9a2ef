"""One pass over images during which somebody sees what enters every neuron layer."""

from __future__ import annotations

import abc
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..svtmodels.declaration import NeuronLayer
from ..svtmodels.engine.prefix import Images
from ..svtmodels.network import Network
from ..svtmodels.parts.neuron import Neuron
from .runner import Runner

GATE = "gate"
"""How the images of the gate begin to be called, batch by batch."""


class Recorder(abc.ABC):
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


def watched_run(runner: Runner, inputs: Tensor, batch_size: int, recorder: Recorder) -> Tensor:
    """Logits [B, K] of inputs [B, ...]; what the recorder raises ends the pass.

    However it ends, nobody watches the network any more, and what the runner may reuse of these
    images is as it was or holds whole batches more.

    Args:
        runner: of the network.
        inputs: images of the gate.
        batch_size: images per pass.
        recorder: who sees it.
    """
    network, program = runner.network, runner.program
    layers = {layer.name: layer for layer in network.declaration.neurons}

    def see(path: str, currents: Tensor) -> None:
        neuron: Any = network.get_submodule(path)
        recorder.layer(layers[path], neuron, currents)

    # Hooks see what runs as plain modules, the watcher what the program runs.
    watching = nullcontext() if program is None else program.watched(see)
    hooks = [_watch_neurons(network, layer, recorder) for layer in network.declaration.neurons]
    hooks += [_watch_selector(network, site, recorder) for site in network.processed_tokens]
    logits = [torch.zeros(0, network.classes)]
    try:
        with watching:
            for start in range(0, len(inputs), batch_size):
                recorder.batch(start)
                batch = inputs[start : start + batch_size]
                images = Images(f"{GATE} {start} {len(batch)}", np.arange(len(batch)))
                logits.append(runner(batch, images, recorder))
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(logits)


def _watch_neurons(network: Network, layer: NeuronLayer, recorder: Recorder) -> Any:
    neuron = network.get_submodule(layer.name)

    def watch(module: Any, inputs: tuple[Tensor, ...]) -> None:
        currents = inputs[0]
        steps, batch, *_, channels = currents.shape
        recorder.layer(layer, module, currents.reshape(steps, batch, -1, channels))

    return neuron.register_forward_pre_hook(watch)


def _watch_selector(network: Network, site: str, recorder: Recorder) -> Any:
    selector = network.get_submodule(f"{site}.selector")

    def watch(module: Any, inputs: Any, kept: Tensor) -> None:
        recorder.selected(site, kept)

    return selector.register_forward_hook(watch)
