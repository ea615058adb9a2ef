"""The networks that the engine is timed on, with their images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spikefront.evaluators.data import Preprocessing, load_splits
from spikefront.spaces import MAGNITUDE, Candidate
from spikefront.spaces.errors import BadInput
from spikefront.svtmodels import Network, compress
from spikefront.svtmodels.checkpoint import load_checkpoint
from spikefront.svtmodels.costs import static_costs
from spikefront.svtmodels.parts.integer_neuron import IntegerNeuron
from spikefront.svtmodels.parts.synapse import ChannelNorm
from spikefront.svtmodels.surgery.prepared import PreparedSurgery
from spikefront.svtmodels.zoo import zoo_path

from .matching import LARGE, Case
from .surgery_bench import choice

ZOO = ("spikformer-cifar10", "sdt-v1-cifar10", "qkformer-cifar10", "sdt-v3-cifar10")
_STATISTICS = 8
"""Images that batch norms of untrained networks are set on."""
BITS = (32, 8, 4)
"""Of all weights; 32: full precision, nothing was done to the network."""


@dataclass(frozen=True, slots=True, eq=False)
class EngineCase:
    """One network with its images.

    Attributes:
        name: for tables.
        network: full, in eval mode.
        images: network inputs [B, C, H, W].
        pixels: what the images are.
        other: builds spikingjelly's network of the same shape; None where there is none.
        match: of the two, where there is the other.
    """

    name: str
    network: Network
    images: Tensor
    pixels: str
    other: Callable[[], nn.Module | None] | None = None
    match: Case | None = None

    def candidate(self, bits: int) -> Candidate:
        """All weights with so many bits."""
        return choice(self.network, {"weight": bits} if bits < 32 else {})

    def built(self, bits: int) -> Network:
        """The candidate, rounded to nearest."""
        if bits == 32:
            return self.network
        surgery = PreparedSurgery(self.network, MAGNITUDE)
        return compress(self.network, self.candidate(bits), surgery)

    def macs(self, bits: int) -> int:
        """Multiply-accumulates per image if every input were dense."""
        return static_costs(self.network, self.candidate(bits)).macs


def zoo_cases(images: int) -> Iterator[EngineCase]:
    """CIFAR-10 networks of the zoo on the first test images; says which data are missing."""
    for name in ZOO:
        network = load_checkpoint(zoo_path(name))
        try:
            splits = load_splits(network.card["data"], with_train=False)
        except BadInput as error:
            print(f"{name} is left out: {error}")
            continue
        preprocessing = Preprocessing.from_dict(network.card["preprocessing"])
        inputs = preprocessing.apply(splits.test.images[:images])
        yield EngineCase(name, network, inputs, "test images of CIFAR-10")


def large_cases(images: int) -> Iterator[EngineCase]:
    """Untrained networks of width 384 whose neurons fire, on random images.

    Their batch norms hold the statistics of these images, as if they had been trained; those of
    spikingjelly do not, but whether its neurons fire makes no difference to its speed.
    """
    for case in LARGE:
        torch.manual_seed(0)
        network = case.network()
        inputs = torch.randn(images, *network.input_shape)
        _normalise(network, inputs[:_STATISTICS])
        name = f"{case.name}-384"
        yield EngineCase(name, network, inputs, "normal noise", case.other, case)


@torch.no_grad()
def _normalise(network: Network, images: Tensor) -> None:
    """Give all batch norms the statistics of what they see; by default hardly a neuron fires."""
    for module in network.modules():
        if isinstance(module, ChannelNorm):
            module.momentum = 1.0
    network.train()
    network(images)
    network.eval()


@torch.inference_mode()
def firing_rate(network: Network, images: Tensor) -> float:
    """Share of all neuron values that are not zero."""
    fired: list[tuple[int, int]] = []

    def see(module: nn.Module, inputs: tuple[Tensor, ...], spikes: Tensor) -> None:
        fired.append((int(spikes.count_nonzero()), spikes.numel()))

    paths = [layer.name for layer in network.declaration.neurons]
    hooks = [network.get_submodule(path).register_forward_hook(see) for path in paths]
    network(images)
    for hook in hooks:
        hook.remove()
    return sum(n for n, _ in fired) / sum(n for _, n in fired)


def facts_of(case: EngineCase) -> Mapping[str, object]:
    """What a row says of its network, whatever was measured."""
    counts = any(isinstance(module, IntegerNeuron) for module in case.network.modules())
    return {
        "network": case.name,
        "pixels": case.pixels,
        "images": len(case.images),
        "parameters": sum(p.numel() for p in case.network.parameters()),
        "T": case.network.time_steps,
        "integer_spikes": counts,
    }
