"""The networks that are timed, and their counterparts in spikingjelly's model zoo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from spikingjelly.activation_based import functional, neuron
from spikingjelly.activation_based.model.qkformer import QKFormer
from spikingjelly.activation_based.model.spike_driven_transformer import SpikeDrivenTransformer
from spikingjelly.activation_based.model.spikformer import Spikformer
from torch import Tensor, nn

from spikefront.spaces.errors import RunFailed
from spikefront.svtmodels import Network, build_official
from spikefront.svtmodels.build import Build

_Net = TypeVar("_Net", bound=nn.Module)
_STEM = "patch_embed"
_CLASSES = 10
_FIRING_BIAS = 0.5
"""Bias of all batch norms, with which untrained neurons fire in every layer."""


@dataclass(frozen=True, slots=True)
class Case:
    """One network at one size.

    Attributes:
        name: for the table.
        size: ``small`` or ``mid``.
        architecture: official name.
        arguments: official constructor arguments.
        batch: images per forward pass.
        counterpart: builds spikingjelly's network of the same widths, depth and T; None where
            its model zoo has none.
    """

    name: str
    size: str
    architecture: str
    arguments: Mapping[str, Any]
    batch: int
    counterpart: Callable[[], nn.Module] | None = None

    def network(self) -> Network:
        """Ours, in eval mode."""
        network = build_official(self.architecture, self.arguments, Build(idle=False))
        return _firing(network).eval()

    def other(self) -> nn.Module | None:
        """spikingjelly's, in eval mode."""
        return None if self.counterpart is None else _firing(self.counterpart()).eval()


def forward_other(network: nn.Module, images: Tensor) -> Tensor:
    """Logits of a network of spikingjelly, [B, K] or [T, B, K]; it ends in its resting state."""
    logits = network(images)
    functional.reset_net(network)
    return logits


def check_match(case: Case, ours: Network, theirs: nn.Module, images: Tensor) -> None:
    """Make sure that both are the same network, as far as shapes tell.

    The weights (without biases and norms, which some files leave out) have equally many elements,
    the neurons of all blocks fire equally many values, and the logits have one shape. In the
    patch embedding the sides differ: spikingjelly's Spikformer pools before the neuron, the
    official one behind it, where there are four times as many values.

    Raises:
        RunFailed: they are not; the comparison would mean nothing.
    """
    found = {
        "weights": (_weights(ours), _weights(theirs)),
        "spikes": (_block_spikes(ours, images), _block_spikes(theirs, images)),
        "logits": (_logits(ours, images), _logits(theirs, images)),
    }
    unlike = {what: sides for what, sides in found.items() if sides[0] != sides[1]}
    if unlike:
        raise RunFailed(f"{case.name} ({case.size}): ours and spikingjelly's differ in {unlike}.")


def _weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters() if weight.dim() > 1)


def spikes_by_layer(network: nn.Module, images: Tensor) -> dict[str, int]:
    """Values that each neuron layer fires over all steps for a batch, by the layer's path."""
    fired: dict[str, int] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda layer, inputs, output: fired.update({name: output.numel()})

    layers = {n: m for n, m in network.named_modules() if isinstance(m, neuron.BaseNode)}
    hooks = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    forward_other(network, images)
    for hook in hooks:
        hook.remove()
    return fired


def _block_spikes(network: nn.Module, images: Tensor) -> int:
    fired = spikes_by_layer(network, images)
    return sum(values for name, values in fired.items() if not name.startswith(_STEM))


def _logits(network: nn.Module, images: Tensor) -> tuple[int, ...]:
    return tuple(forward_other(network, images).shape[-2:])


@torch.no_grad()
def _firing(network: _Net) -> _Net:
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.bias.fill_(_FIRING_BIAS)
    return network


def _spikformer(size: str, dim: int, heads: int, depth: int, steps: int, batch: int) -> Case:
    shared: dict[str, Any] = {
        "img_size_h": 32,
        "img_size_w": 32,
        "num_classes": _CLASSES,
        "embed_dims": dim,
        "num_heads": heads,
        "depths": depth,
        "T": steps,
    }

    def counterpart() -> nn.Module:
        return Spikformer(patch_size=4, **shared)

    own = {**shared, "mlp_ratios": 4}
    return Case("Spikformer", size, "spikformer_cifar10", own, batch, counterpart)


def _sdt_v1(size: str, dim: int, heads: int, depth: int, steps: int, batch: int) -> Case:
    shared: dict[str, Any] = {
        "in_channels": 3,
        "num_classes": _CLASSES,
        "pooling_stat": "0011",
        "embed_dims": dim,
        "num_heads": heads,
        "depths": depth,
        "T": steps,
    }

    def counterpart() -> nn.Module:
        return SpikeDrivenTransformer(**shared)

    own = {**shared, "img_size_h": 32, "img_size_w": 32}
    return Case("SDT-v1", size, "sdt_v1", own, batch, counterpart)


def _qkformer(size: str, dim: int, heads: int, steps: int, batch: int) -> Case:
    """The ImageNet file, the only one that spikingjelly has; 1 + 2 + 1 blocks, 64 x 64 pixels."""
    shared: dict[str, Any] = {
        "in_channels": 3,
        "num_classes": _CLASSES,
        "embed_dims": dim,
        "T": steps,
    }

    def counterpart() -> nn.Module:
        return QKFormer(num_heads=(heads, heads, heads), depths=(1, 2, 1), **shared)

    sides = {"img_size_h": 64, "img_size_w": 64}
    own = {**shared, **sides, "num_heads": heads, "depths": 4}
    return Case("QKFormer", size, "qkformer_imagenet", own, batch, counterpart)


def _pyramid(name: str, size: str, dims: list[int], batch: int, **steps: int) -> Case:
    sides = {"img_size_h": 64, "img_size_w": 64}
    arguments = {**sides, "num_classes": _CLASSES, "embed_dim": dims, **steps}
    return Case(name, size, name.lower().replace("-", "_"), arguments, batch)


CASES = (
    _spikformer("small", 64, 4, 2, 4, 16),
    _sdt_v1("small", 64, 8, 2, 4, 16),
    _pyramid("SDT-v2", "small", [16, 24, 32, 40], 16, T=4),
    _pyramid("SDT-v3", "small", [16, 24, 32, 40], 16),
    _qkformer("small", 64, 4, 4, 16),
    _spikformer("mid", 256, 8, 2, 4, 8),
    _sdt_v1("mid", 256, 8, 2, 4, 8),
    _pyramid("SDT-v2", "mid", [32, 64, 128, 160], 8, T=4),
    _pyramid("SDT-v3", "mid", [32, 64, 128, 160], 8),
    _qkformer("mid", 256, 8, 4, 8),
)
"""Small networks of CIFAR size, and some of a few million parameters."""

LARGE = (
    _spikformer("large", 384, 12, 4, 4, 64),
    _sdt_v1("large", 384, 12, 4, 4, 64),
    _qkformer("large", 384, 12, 4, 64),
)
"""Networks as wide as those of the papers, all of which spikingjelly has as well."""
