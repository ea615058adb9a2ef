"""Training-free recovery: every synapse gives what it gave before surgery, on average.

Batch-norm re-estimation for networks whose batch norms may be folded into integers: mean and
standard deviation of each channel behind a synapse are set to those of the trained network on the
same images (methods 10).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..declaration import Synapse
from ..network import Network
from ..parts.synapse import ChannelNorm, QuantisedSynapse

_LARGEST_RATIO = 4.0
"""A channel's spread is changed by at most this factor: what hardly varies has no spread."""
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Mean and standard deviation of each channel behind a synapse, [C_out] each."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, outputs: Tensor) -> Spread:
        """Of outputs [..., C_out], over all leading axes."""
        flat = outputs.flatten(0, -2)
        return cls(flat.mean(0), flat.std(0, correction=0))


@torch.no_grad()
def output_spreads(network: Network, images: Tensor) -> dict[str, Spread]:
    """What each synapse of a trained network gives, by synapse name."""
    found: dict[str, Spread] = {}

    def note(synapse: Synapse, outputs: Tensor) -> None:
        found[synapse.name] = Spread.of(outputs)

    with _watched(network, note):
        network(images)
    return found


@torch.no_grad()
def recover(network: Network, spreads: Mapping[str, Spread], images: Tensor) -> None:
    """Set mean and spread behind every synapse to those of the trained network, in place.

    One pass over the images as one batch: each synapse is corrected before the next one sees it.

    Args:
        network: compressed, in eval mode.
        spreads: of the trained network on the same images.
        images: calibration images, [B, ...].
    """
    rows, _ = network.declaration.rows_and_columns(network.kept_channels)

    def correct(synapse: Synapse, outputs: Tensor) -> Tensor | None:
        wanted, kept = spreads[synapse.name], rows.get(synapse.name)
        mean, deviation = wanted.mean, wanted.deviation
        if kept is not None:
            mean, deviation = mean[kept], deviation[kept]
        found = Spread.of(outputs)
        ratio = (deviation + _EPSILON) / (found.deviation + _EPSILON)
        ratio = ratio.clamp(1 / _LARGEST_RATIO, _LARGEST_RATIO)
        shift = mean - found.mean * ratio
        if not _absorb(network, synapse, ratio, shift):
            return None
        return outputs * ratio + shift

    with _watched(network, correct):
        network(images)


def _absorb(network: Network, synapse: Synapse, ratio: Tensor, shift: Tensor) -> bool:
    """Put ``y * ratio + shift`` into what is behind a synapse, if anything there can take it."""
    module = network.get_submodule(synapse.weight)
    norm = network.get_submodule(synapse.norm) if synapse.norm is not None else None
    if isinstance(module, QuantisedSynapse):
        module.scale = module.scale * ratio
        module.bias = module.bias * ratio + shift
        return True
    if isinstance(norm, ChannelNorm):
        norm.weight.data = norm.weight.data * ratio
        norm.bias.data = norm.bias.data * ratio + shift
        return True
    return False


@contextmanager
def _watched(network: Network, see: Callable[[Synapse, Tensor], Tensor | None]) -> Iterator[None]:
    """Calls `see` with the output behind every synapse; what it returns takes its place."""

    def hook(synapse: Synapse) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]:
        return lambda _module, _inputs, output: see(synapse, output)

    handles = [
        _last(network, synapse).register_forward_hook(hook(synapse))
        for synapse in network.declaration.synapses
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _last(network: Network, synapse: Synapse) -> nn.Module:
    """The module whose output is that of a synapse and its batch norm."""
    weight = network.get_submodule(synapse.weight)
    if synapse.norm is None or isinstance(weight, QuantisedSynapse):
        return weight
    return network.get_submodule(synapse.norm)
