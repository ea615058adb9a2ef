"""Watches modules of a network while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from ..network import Network

Watcher = tuple[str, Callable[[Tensor, Tensor], None]]
"""Path of a module, and what is called with its input and output after every call."""


@contextmanager
def watched(network: Network, watchers: Iterable[Watcher]) -> Iterator[None]:
    """Calls the watchers of a network's modules as long as it lasts."""

    def hook(
        see: Callable[[Tensor, Tensor], None],
    ) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _module, inputs, output: see(inputs[0], output)

    handles = [
        network.get_submodule(path).register_forward_hook(hook(see)) for path, see in watchers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
