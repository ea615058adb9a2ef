"""Single runs of the engine on a bench of their own, and straightforward torch to compare with."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from spikefront.svtmodels.declaration import Source, Synapse
from spikefront.svtmodels.engine.context import Context
from spikefront.svtmodels.engine.rows import Form, Rows
from spikefront.svtmodels.parts.integer_neuron import IntegerNeuron, Rounding
from spikefront.svtmodels.parts.neuron import LIF
from spikefront.svtmodels.parts.parametric_neuron import ParametricLIF
from spikefront.svtmodels.parts.state_neuron import StateLIF
from spikefront.svtmodels.parts.synapse import ChannelNorm, Conv, Pointwise, QuantisedSynapse

NAME = "synapse"
"""Of the one synapse, or attention, on a bench."""


class Bench(Context):
    """Context of a few modules that are no network; notes which kernels ran.

    Args:
        kernels: compiled.
        pruned: whether the synapse counts as one that was pruned.
        parts: modules by name; the synapse is `NAME`.
    """

    def __init__(
        self, kernels: ctypes.CDLL, pruned: bool = False, **parts: nn.Module | None
    ) -> None:
        modules: Any = nn.ModuleDict({n: p for n, p in parts.items() if p is not None})
        synapse = Synapse(NAME, NAME, None, 1, Source.SPIKES, "", "")
        modules.declaration = SimpleNamespace(synapses=[synapse])
        modules.kept_numbers = {NAME: 1} if pruned else {}
        super().__init__(modules, kernels)
        self.ran: list[str] = []
        self.seen: dict[str, Tensor] = {}

    @override
    def run(self, kernel: str, arguments: ctypes.Structure) -> None:
        self.ran.append(kernel)
        super().run(kernel, arguments)

    def look(self) -> None:
        """Keep the currents of all neurons in `seen`."""
        self.watcher = lambda path, currents: self.seen.update({path: currents.clone()})


def rows_of(values: Tensor, form: Form, unit: float = 1.0) -> Rows:
    """Rows of whole numbers, or of currents, [T, B, H, W, C]."""
    _, _, height, width, channels = values.shape
    data = values.permute(1, 2, 3, 0, 4).flatten(1, 2).contiguous()
    if form is Form.BITS:
        data = _words(data)
    elif form is Form.COUNTS:
        data = data.to(torch.uint8)
    return Rows(form, data, channels, (height, width), unit)


def values_of(rows: Rows) -> Tensor:
    """Whole numbers, or currents, [T, B, P, C]; bits behind the last channel must be 0."""
    data = rows.data.clone()
    if rows.form is Form.BITS:
        bits = (data[..., None] >> torch.arange(64)) & 1
        bits = bits.flatten(-2)
        assert not bits[..., rows.channels :].any()
        data = bits[..., : rows.channels]
    return data.permute(2, 0, 1, 3).float()


def _words(spikes: Tensor) -> Tensor:
    padded = F.pad(spikes, (0, -spikes.shape[-1] % 64)).to(torch.int64)
    return (padded.unflatten(-1, (-1, 64)) << torch.arange(64)).sum(-1)


def numbers(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fires(shape: tuple[int, ...], rate: float, largest: int, seed: int) -> Tensor:
    """Spikes of a rate, each a whole number up to `largest`."""
    generator = numbers(seed)
    fired = torch.rand(shape, generator=generator) < rate
    return torch.randint(1, largest + 1, shape, generator=generator) * fired


def normed(channels: int, seed: int) -> ChannelNorm:
    """A batch norm with which about half of the neurons behind it fire."""
    generator = numbers(seed)
    norm = ChannelNorm(channels).eval()
    for tensor, low, high in (
        (norm.weight.data, 0.5, 1.5),
        (norm.bias.data, -0.5, 1.5),
        (norm.running_mean, -0.5, 0.5),
        (norm.running_var, 0.5, 2.0),
    ):
        assert tensor is not None
        tensor.uniform_(low, high, generator=generator)
    return norm


def float_synapse(
    outputs: int, inputs: int, kernel: int, stride: int, seed: int, groups: int = 1
) -> Conv | Pointwise:
    """Weights are whole 64ths up to a half: their sums are exact in any order."""
    pointwise = kernel == 1 and stride == 1
    synapse = (
        Pointwise(inputs, outputs, bias=False)
        if pointwise
        else Conv(inputs, outputs, kernel, stride=stride, groups=groups)
    )
    shape = tuple(synapse.weight.shape)
    codes = torch.randint(-32, 33, shape, generator=numbers(seed))
    synapse.weight.data = codes.float() / 64
    return synapse


def quantised_synapse(
    outputs: int,
    inputs: int,
    kernel: int,
    stride: int,
    seed: int,
    *,
    bits: int = 8,
    largest: int = 1,
    grid: int = 1,
    groups: int = 1,
) -> QuantisedSynapse:
    """Codes over the whole range of their bits; scales that let about half of neurons fire."""
    generator, most = numbers(seed), max(2 ** (bits - 1) - 1, 1)
    pointwise = kernel == 1 and stride == 1
    shape = (outputs, inputs // groups, *((1,) if pointwise else (kernel, kernel)))
    codes = torch.randint(-most, most + 1, shape, generator=generator)
    spread = 1 / (most * largest * (inputs // groups * kernel * kernel) ** 0.5)
    return QuantisedSynapse(
        codes.to(torch.int8),
        (0.5 + torch.rand(outputs, generator=generator)) * spread,
        2 * torch.rand(outputs, generator=generator) - 0.5,
        bits=bits,
        grid=grid,
        padding=None if pointwise else kernel // 2,
        max_input=largest,
        stride=stride,
        groups=groups,
    )


def affine_of(synapse: nn.Module, norm: ChannelNorm | None) -> tuple[Tensor, Tensor]:
    """Scale and bias behind the sum."""
    if isinstance(synapse, QuantisedSynapse):
        return synapse.scale, synapse.bias
    assert norm is not None
    scale, bias = norm.folded()
    return scale.detach(), bias.detach()


def currents_of(synapse: Any, norm: ChannelNorm | None, x: Tensor) -> Tensor:
    """Currents [T, B, H', W', C'] of inputs [T, B, H, W, C] whose sums float64 holds exactly."""
    scale, bias = affine_of(synapse, norm)
    return summed(synapse, synapse.weight.detach(), x).float() * scale + bias


def summed(synapse: Any, weight: Tensor, x: Tensor) -> Tensor:
    """Weights [C', C, ...] over inputs [T, B, H, W, C], in float64."""
    kernel = weight.shape[2] if weight.dim() > 3 else 1
    window = getattr(synapse, "window", {"stride": 1, "groups": 1})
    square = weight.double().reshape(*weight.shape[:2], kernel, kernel)
    maps = x.double().flatten(0, 1).permute(0, 3, 1, 2)
    out = F.conv2d(
        maps, square, None, window["stride"], kernel // 2, groups=min(window["groups"], len(square))
    )
    return out.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


def operations_of(synapse: Any, x: Tensor, pruned: bool) -> Tensor:
    """Accumulates [B] of whole numbers [T, B, H, W, C], window by window."""
    weight = synapse.weight.detach()
    groups = getattr(synapse, "window", {"groups": 1})["groups"]
    fed = (weight != 0) if pruned else torch.ones_like(weight)
    out = summed(synapse, fed.double(), x) if groups > 1 else _one_output(synapse, fed, x)
    return out.sum((0, 2, 3, 4)).round().to(torch.int64)


def _one_output(synapse: Any, fed: Tensor, x: Tensor) -> Tensor:
    return summed(synapse, fed.double().sum(0, keepdim=True), x)


def fired(neuron: nn.Module, currents: Tensor) -> Tensor:
    """Spikes, as whole numbers, of currents [T, ...], step by step."""
    if isinstance(neuron, IntegerNeuron):
        x = currents.clamp(0, neuron.levels)
        return x.round() if neuron.rounding is Rounding.HALF_EVEN else (x + 0.5).floor()
    assert isinstance(neuron, LIF | ParametricLIF)
    tau, theta = float(neuron.tau), float(neuron.v_threshold)
    v, spikes = torch.zeros_like(currents[0]), []
    for x in currents:
        h = v + (x - v) / tau
        spikes.append((h >= theta).float())
        v = torch.where(h >= theta, 0.0, h)
        if isinstance(neuron, StateLIF):
            half = 2 ** (neuron.bits - 1)
            v = (v / neuron.step).round().clamp(-half, half - 1) * neuron.step
    return torch.stack(spikes)


def neuron_of(kind: str) -> nn.Module | None:
    """A neuron of every kind that kernels know; None: none."""
    match kind:
        case "lif":
            return LIF()
        case "learnt":
            return ParametricLIF(3.0, 0.8)
        case "rounded":
            return StateLIF(2.0, 1.0, bits=5)
        case "to even":
            return IntegerNeuron(levels=4, norm=4)
        case "half up":
            return IntegerNeuron(levels=8, norm=1, rounding=Rounding.HALF_UP)
        case _:
            return None


NEURONS = ("none", "lif", "learnt", "rounded", "to even", "half up")
