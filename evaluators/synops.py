"""SynOps: accumulates that real spikes trigger, counted while a network runs.

An integer spike of n counts as n accumulates. Synapses that see real values (the first one of
an image network, the classifier) cost MACs, not SynOps, and are counted by `static_costs`.
"""

from __future__ import annotations

from collections import defaultdict
from types import TracebackType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from ..svtmodels.declaration import AttentionProduct, Source, Synapse
from ..svtmodels.network import Network
from ..svtmodels.parts.synapse import Conv, QuantisedSynapse


class SynOpCounter:
    """Counts the SynOps of every forward pass inside its `with` block.

    `by_layer` holds the sum per synapse and per attention product. Agrees with spikingjelly's
    `op_counter.SynOpCounter` wherever that one sees binary spikes (tested).
    """

    def __init__(self, network: Network) -> None:
        self.by_layer: dict[str, int] = defaultdict(int)
        self._network = network
        self._hooks: list[Any] = []
        self._fired: dict[str, Tensor] = {}

    @property
    def total(self) -> int:
        """SynOps of all images so far."""
        return sum(self.by_layer.values())

    def __enter__(self) -> Self:
        for synapse in self._network.declaration.synapses:
            if synapse.source in (Source.SPIKES, Source.EVENTS):
                module = self._network.get_submodule(synapse.weight)
                self._hooks.append(module.register_forward_pre_hook(self._synapse(synapse)))
        for product in self._network.declaration.attentions:
            for name in ("q", "k", "v"):
                neuron = self._network.get_submodule(f"{product.name}.{name}_lif")
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

    def _synapse(self, synapse: Synapse) -> Any:
        def count(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.by_layer[synapse.name] += synapse_operations(module, inputs[0])

        return count

    def _neuron(self, product: AttentionProduct, name: str) -> Any:
        def remember(module: torch.nn.Module, inputs: Any, spikes: Tensor) -> None:
            self._fired[name] = spikes
            if name == "v":
                q, k, v = (self._fired.pop(part) for part in ("q", "k", "v"))
                self.by_layer[product.name] += attention_operations(q, k, v, product.heads)

        return remember


def synapse_operations(module: torch.nn.Module, spikes: Tensor) -> int:
    """Accumulates of spikes [..., C] (maps: [..., H, W, C]) entering a synapse."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    outputs, kernel = weight.shape[0], weight.shape[2:]
    per_position = spikes.sum(-1, dtype=torch.float64)
    if not isinstance(module, Conv | QuantisedSynapse) or max(kernel, default=1) == 1:
        return outputs * round(float(per_position.sum()))
    reach = _reach(spikes.shape[-3], spikes.shape[-2], kernel[0])
    return outputs * round(float((per_position * reach).sum()))


def attention_operations(q: Tensor, k: Tensor, v: Tensor, heads: int) -> int:
    """Accumulates of q (k^T v) for binary [T, B, N, C].

    k^T v: one per coincidence of a key and a value spike of one token; q (k^T v): a query spike
    adds one row, as wide as the values of a head.
    """
    keys = k.unflatten(-1, (heads, -1)).sum(-1, dtype=torch.float64)
    values = v.unflatten(-1, (heads, -1)).sum(-1, dtype=torch.float64)
    rows = q.sum(dtype=torch.float64) * (v.shape[-1] // heads)
    return round(float((keys * values).sum() + rows))


def _reach(height: int, width: int, kernel: int) -> Tensor:
    """How many outputs of a stride-1, same-padded convolution each input position feeds."""
    ones = torch.ones(1, 1, height, width, dtype=torch.float64)
    window = torch.ones(1, 1, kernel, kernel, dtype=torch.float64)
    return F.conv2d(ones, window, padding=kernel // 2)[0, 0]
