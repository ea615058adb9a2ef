"""What all runs of one program share: the network, who watches, and what was counted."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..declaration import Source
from ..network import Network

CurrentsWatcher = Callable[[str, Tensor], None]
"""Is told the path of a neuron layer and its input currents [T, B, P, C]."""


@dataclass(eq=False)
class Context:
    """Shared by the runs of a program.

    Attributes:
        network: whose modules are run.
        kernels: compiled.
        counted: SynOps [B] of the images on their way, by synapse and by attention.
        plain: parts that run as plain torch modules, and why.
        watcher: of currents; None: nobody.
    """

    network: Network
    kernels: ctypes.CDLL
    counted: dict[str, Tensor] = field(default_factory=dict)
    plain: dict[str, str] = field(default_factory=dict)
    watcher: CurrentsWatcher | None = None

    def counter(self, images: int) -> Tensor:
        """Zeros [B], for the SynOps of one synapse or attention, image by image."""
        return torch.zeros(images, dtype=torch.int64)

    def count(self, name: str, operations: Tensor) -> None:
        """Add SynOps [B] of a synapse or an attention."""
        before = self.counted.get(name)
        self.counted[name] = operations if before is None else before + operations

    def watch(self, neuron: str, currents: Tensor | None) -> None:
        """Show currents [B, P, T, C], if there are any, to the watcher."""
        if self.watcher is not None and currents is not None:
            self.watcher(neuron, currents.permute(2, 0, 1, 3))

    def path(self, module: nn.Module) -> str:
        """Path of a module in the network."""
        return self._paths[id(module)]

    def synapse_name(self, weight: nn.Module) -> str:
        """Declared name of the synapse whose weight a module holds."""
        return self._synapses[self._paths[id(weight)]].name

    def sees_spikes(self, synapse: str) -> bool:
        """Whether what enters a declared synapse is spikes or sums of spikes."""
        return any(s.name == synapse and s.source is Source.SPIKES for s in self._synapses.values())

    @property
    def has_byte_products(self) -> bool:
        """Whether dense products of bytes are fast on this machine."""
        return bool(self.kernels.has_byte_products())

    def run(self, kernel: str, arguments: ctypes.Structure) -> None:
        """Call a kernel."""
        getattr(self.kernels, kernel)(ctypes.byref(arguments))

    def measure(self, kernel: str, arguments: ctypes.Structure) -> int:
        """Call a kernel that gives a number."""
        return getattr(self.kernels, kernel)(ctypes.byref(arguments))

    def __post_init__(self) -> None:
        self._paths = {id(module): path for path, module in self.network.named_modules()}
        self._synapses = {s.weight: s for s in self.network.declaration.synapses}


class Buffer:
    """Memory that one run uses again at every call."""

    def __init__(self) -> None:
        self._stored: Tensor | None = None

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Uninitialised tensor [*shape] over this memory, which grows to what is needed."""
        count = 1
        for size in shape:
            count *= size
        if self._stored is None or self._stored.dtype != dtype or len(self._stored) < count:
            self._stored = torch.empty(count, dtype=dtype)
        return self._stored[:count].view(shape)
