"""Masks of single steps: a neuron keeps its own membrane while its token comes and goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from .tokens import Places

_TOKEN_AXES = 4
"""Of [T, B, k, C]; a mask over channels, [T, B, C], has no tokens."""


@contextmanager
def membranes_in_place(block: nn.Module, places: Places) -> Iterator[None]:
    """Run the neurons of a block on the whole grid, whichever tokens its synapses see.

    The k-th token that passes is another one at every step, and must not inherit the membrane of
    the one before. A token that is out at a step gives its neurons no current: their membranes
    leak, which never fires. One mask for all steps needs none of this.
    """
    if places.kept.dim() < 3:
        yield
        return
    hooks: list[Any] = []
    for module in block.modules():
        if hasattr(module, "potential"):
            # First of all, so that whoever else listens sees every neuron in its place.
            hooks.append(module.register_forward_pre_hook(_spread(places), prepend=True))
            hooks.append(module.register_forward_hook(_collect(places)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _spread(places: Places) -> Any:
    def spread(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor] | None:
        return (places.spread(inputs[0]),) if inputs[0].dim() == _TOKEN_AXES else None

    return spread


def _collect(places: Places) -> Any:
    def collect(module: nn.Module, inputs: Any, spikes: Tensor) -> Tensor:
        return places.collect(spikes) if spikes.dim() == _TOKEN_AXES else spikes

    return collect
