"""SynOps: accumulates that real spikes trigger, counted while a network runs.

An integer spike of n counts as n accumulates, whatever constant the network divides it by. A
RepConv counts as the one convolution that it amounts to. A synapse that was pruned counts only its
weights that are not zero, input channel by input channel. Synapses that see real values (the first
one of an image network, a classifier of pooled features) cost MACs, not SynOps, and are counted
by `static_costs`. An attention's products count as follows:

- matrix products q (k^T v): a coincidence of a key and a value spike of one token is one
  accumulate, a query spike adds one row, as wide as the values of a head;
- SDSA-1 and QKTA: what a mask's neurons sum up, one accumulate per one (SDSA-1: per coincidence of
  key and value in one channel; QKTA: per query spike). Masking itself lets spikes pass or not; it
  accumulates nothing and is free, as it is in the papers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from ..svtmodels.declaration import AttentionProduct, Source, Synapse
from ..svtmodels.engine.program import Program
from ..svtmodels.network import Network
from ..svtmodels.parts.synapse import Window, parameters_of, shape_of, window_of


class SynOpCounter:
    """Counts the SynOps of every forward pass inside its `with` block.

    `by_layer` holds the sum per synapse and per attention product, once the block is left; give
    the program of the network if it is one that runs. Agrees with spikingjelly's
    `op_counter.SynOpCounter` wherever that one sees binary spikes (tested).
    """

    def __init__(self, network: Network, program: Program | None = None) -> None:
        self.by_layer: dict[str, int] = defaultdict(int)
        self._network = network
        self._program = program
        self._before: dict[str, int] = {}
        self._hooks: list[Any] = []
        self._fired: dict[str, Tensor] = {}

    @property
    def total(self) -> int:
        """SynOps of all images so far."""
        return sum(self.by_layer.values())

    def __enter__(self) -> Self:
        if self._program is not None:
            self._before = self._program.operations
            self._program.counts_plain_parts = True
        for synapse in self._network.declaration.synapses:
            if synapse.source in (Source.SPIKES, Source.EVENTS):
                module = self._network.get_submodule(synapse.weight)
                self._hooks.append(module.register_forward_pre_hook(self._synapse(synapse)))
        for product in self._network.declaration.attentions:
            if product.mask is not None:
                mask = self._network.get_submodule(product.mask)
                self._hooks.append(mask.register_forward_pre_hook(self._mask(product)))
                continue
            for name in ("q", "k", "v"):
                path = f"{product.name}.{name}_{product.neurons}"
                neuron = self._network.get_submodule(path)
                self._hooks.append(neuron.register_forward_hook(self._neuron(product, name)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if self._program is None:
            return
        self._program.counts_plain_parts = False
        for name, operations in self._program.operations.items():
            self.by_layer[name] += operations - self._before.get(name, 0)

    def _add(self, name: str, count: Callable[..., int], *seen: Tensor) -> None:
        """Add what a function counts in activations [T, B, ...]."""
        if self._program is None:
            self.by_layer[name] += count(*seen)
            return
        # A program counts image by image; what its kernels run calls no module.
        batch = range(seen[0].shape[1])
        each = [count(*(part[:, image : image + 1] for part in seen)) for image in batch]
        self._program.count(name, torch.tensor(each, dtype=torch.int64))

    def _synapse(self, synapse: Synapse) -> Any:
        unit, _ = self._network.input_grid(synapse.source)
        pruned = synapse.name in self._network.kept_numbers
        operations = sparse_operations if pruned else synapse_operations

        def count(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._add(synapse.name, lambda spikes: operations(module, spikes, unit), inputs[0])

        return count

    def _mask(self, product: AttentionProduct) -> Any:
        def count(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._add(product.name, _summed, inputs[0])

        return count

    def _neuron(self, product: AttentionProduct, name: str) -> Any:
        unit, _ = self._network.input_grid(Source.SPIKES)

        def remember(module: torch.nn.Module, inputs: Any, spikes: Tensor) -> None:
            self._fired[name] = spikes if unit == 1 else spikes * unit
            if name == "v":
                q, k, v = (self._fired.pop(part) for part in ("q", "k", "v"))
                count = partial(attention_operations, heads=product.heads)
                self._add(product.name, count, q, k, v)

        return remember


def synapse_operations(module: torch.nn.Module, spikes: Tensor, unit: int = 1) -> int:
    """Accumulates of spikes [..., C] (maps: [..., H, W, C]) entering a synapse.

    Args:
        module: any kind of synapse.
        spikes: what enters it.
        unit: spikes that an input of one stands for.
    """
    outputs, _, *kernel = shape_of(module)
    window = window_of(module)
    count = _over_images(spikes).sum(-1)
    if window["padding"] is not None:
        count = count * _reach(spikes.shape[-3:-1], kernel[0], window)
    return outputs // window["groups"] * round(unit * float(count.sum()))


def sparse_operations(module: torch.nn.Module, spikes: Tensor, unit: int = 1) -> int:
    """`synapse_operations` of a pruned synapse: its weights that are zero cost nothing.

    A spike costs as many accumulates as its channel has other weights, at those kernel positions
    that reach an output.
    """
    # Per input channel and kernel position, how many outputs are fed: [C, k, k], or [C].
    fed = (parameters_of(module)[0] != 0).sum(0).double()
    window, counts = window_of(module), _over_images(spikes)
    if window["padding"] is None:
        by_channel = counts.reshape(-1, counts.shape[-1]).sum(0)
        return round(unit * float((by_channel * fed.flatten()).sum()))
    rows, columns = (
        _feeds(length, fed.shape[-1], window).double() for length in spikes.shape[-3:-1]
    )
    maps = counts.reshape(-1, *counts.shape[-3:]).sum(0)
    return round(unit * float(torch.einsum("hwc,hy,wx,cyx->", maps, rows, columns, fed)))


def attention_operations(q: Tensor, k: Tensor, v: Tensor, heads: int) -> int:
    """Accumulates of q (k^T v) for spikes [T, B, ..., C].

    k^T v: one per coincidence of a key and a value spike of one token; q (k^T v): a query spike
    adds one row, as wide as the values of a head.
    """
    keys = k.unflatten(-1, (heads, -1)).sum(-1)
    values = v.unflatten(-1, (heads, -1)).sum(-1)
    rows = _over_images(q).sum() * (v.shape[-1] // heads)
    return round(float((keys * values).sum(dtype=torch.float64) + rows))


def _summed(currents: Tensor) -> int:
    return round(float(currents.sum(dtype=torch.float64)))


def _over_images(spikes: Tensor) -> Tensor:
    """Sum of [T, B, ...] over steps and images, in float64.

    The float32 sums of so few small integers are exact, and over the outermost axes they run at
    memory speed.
    """
    return spikes.flatten(0, 1).sum(0).double()


def _reach(size: Sequence[int], kernel: int, window: Window) -> Tensor:
    """How many outputs of a convolution each input position [H, W] feeds."""
    rows, columns = (_reach_along(length, kernel, window) for length in size)
    return rows[:, None] * columns


def _reach_along(length: int, kernel: int, window: Window) -> Tensor:
    return _feeds(length, kernel, window).sum(1, dtype=torch.float64)


def _feeds(length: int, kernel: int, window: Window) -> Tensor:
    """Whether an input position feeds an output through a kernel position: bool [length, k]."""
    padding, stride = window["padding"] or 0, window["stride"]
    outputs = (length + 2 * padding - kernel) // stride + 1
    start = torch.arange(length)[:, None] + padding - torch.arange(kernel)
    return (start >= 0) & (start % stride == 0) & (start // stride < outputs)
