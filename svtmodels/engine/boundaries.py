"""Where the activations of a network may be kept, and what decides over them up to there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from torch import nn

from ..metaformer import MetaFormer, Role
from ..metaformer_layers import DownSampling
from ..network import Network
from ..parts.stem import STEM, Stem
from ..parts.token_rule import TokenRule
from ..qkformer import QKFormer

_BLOCKS = "block"
_CONSTANT = (bool, int, float, str, tuple, TokenRule)
"""Types of what modules hold besides tensors that says what they compute."""

Boundary = tuple[str, ...]
"""Paths of the modules between the boundary before and this one; the last one ends it."""


def boundaries(network: Network) -> tuple[Boundary, ...]:
    """Boundaries of a network, in the order in which signals pass them.

    The first lies behind the input, the others behind the sections of its program.
    """
    match network:
        case QKFormer():
            return tuple(
                (path,) for stage in network.stages for path in (stage.embedding, *stage.blocks)
            )
        case MetaFormer():
            return tuple((path,) for path in _metaformer_paths(network))
        case _:
            assert isinstance(network.get_submodule(STEM), Stem)
            blocks = network.get_submodule(_BLOCKS).named_children()
            return *_STEM_BOUNDARIES, *((f"{_BLOCKS}.{name}",) for name, _ in blocks)


def digests(network: Network, purpose: str = "") -> tuple[bytes, ...]:
    """For each boundary a digest of all that decides over the activations behind it.

    That is what was built, not what it was built from: weights, constants of neurons, choice of
    tokens, time steps. Also how the parts before it are counted and compared: which channels of
    the trained network they are, and which synapses count as pruned.

    Args:
        network: not to be changed while the digests are in use.
        purpose: of the digests; other purposes have others.
    """
    settings = (network.architecture, sorted(network.arguments.items()), network.time_steps)
    content = hashlib.sha256(repr((purpose, settings, network.arithmetic)).encode())
    chain = []
    for boundary in boundaries(network):
        for path in boundary:
            _add_module(content, network.get_submodule(path))
            _add_origin(content, network, path)
        chain.append(content.digest()[:16])
    return tuple(chain)


_STEM_BOUNDARIES: tuple[Boundary, ...] = (
    *(
        tuple(f"{STEM}.proj_{kind}{number}" for kind in ("conv", "bn", "lif"))
        for number in ("", "1", "2")
    ),
    (STEM,),
)


def _metaformer_paths(network: MetaFormer) -> Sequence[str]:
    paths = []
    for part in network.parts:
        module = network.get_submodule(part.name)
        has_blocks = part.role is not Role.ENCODER and not isinstance(module, DownSampling)
        names = [name for name, _ in module.named_children()] if has_blocks else []
        paths += [f"{part.name}.{name}" for name in names] if has_blocks else [part.name]
    return paths


def _add_module(content: hashlib._Hash, module: nn.Module) -> None:
    """Tensors, types and constants of a module and those in it."""
    for path, each in module.named_modules():
        constants = [item for item in vars(each).items() if isinstance(item[1], _CONSTANT)]
        content.update(repr((path, type(each).__qualname__, sorted(constants))).encode())
        for name, tensor in (*each.named_parameters("", False), *each.named_buffers("", False)):
            if name not in each._non_persistent_buffers_set:
                array = tensor.detach().contiguous().numpy()
                content.update(repr((name, array.dtype.str, array.shape)).encode())
                content.update(array.reshape(-1).view("u1").data)


def _add_origin(content: hashlib._Hash, network: Network, path: str) -> None:
    """What a network says of the neurons and synapses in a module."""
    within = (path, f"{path}.")
    for layer in network.declaration.neurons:
        kept = network.kept_channels.get(layer.channels or "")
        if kept is not None and (layer.name == path or layer.name.startswith(within[1])):
            content.update(repr(layer.name).encode())
            content.update(kept.numpy().tobytes())
    for synapse in network.declaration.synapses:
        if synapse.weight == path or synapse.weight.startswith(within[1]):
            content.update(repr((synapse.name, synapse.name in network.kept_numbers)).encode())
