"""Training-free recovery: every synapse gives what it gave before surgery, on average.

Batch-norm re-estimation for networks whose batch norms may be folded into integers: mean and
standard deviation of each channel behind a synapse are set to those of the trained network on the
same images (methods 10).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..declaration import NeuronLayer, Synapse
from ..engine.prefix_cache import PrefixCache
from ..network import Network
from ..parts.neuron import LIF
from ..parts.parametric_neuron import ParametricLIF
from ..parts.synapse import ChannelNorm, QuantisedSynapse
from .recovery_prefix import Correction, taken_up
from .watching import Watcher, watched

_LARGEST_RATIO = 4.0
"""A channel's spread is changed by at most this factor: what hardly varies has no spread."""
_EPSILON = 1e-6
_HALVINGS = 12
"""The last one moves a threshold by less than 0.1 %."""


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Mean and standard deviation of each channel behind a synapse, [C_out] each."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, outputs: Tensor) -> Spread:
        """Of outputs [..., C_out], over all leading axes."""
        flat = outputs.flatten(0, -2)
        mean = flat.mean(0)
        # torch's own `std` takes ten times as long over the outer axis.
        return cls(mean, (flat - mean).square_().mean(0).sqrt_())


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What the trained network does on the images of recovery.

    Attributes:
        spreads: behind each synapse, by its name.
        rates: mean firing rate of each channel [C] of each neuron layer, by its path.
    """

    spreads: Mapping[str, Spread]
    rates: Mapping[str, Tensor]


@torch.no_grad()
def reference_of(network: Network, images: Tensor) -> Reference:
    """What each synapse and each neuron of a trained network gives."""
    spreads: dict[str, Spread] = {}
    rates: dict[str, Tensor] = {}

    def note(synapse: Synapse, outputs: Tensor) -> None:
        spreads[synapse.name] = Spread.of(outputs)

    def fired(layer: NeuronLayer) -> Watcher:
        def see(_: Tensor, spikes: Tensor) -> None:
            rates[layer.name] = _rates(spikes)

        return layer.name, see

    neurons = [fired(layer) for layer in network.declaration.neurons]
    with watched(network, neurons), _corrected(network, note):
        network(images)
    return Reference(spreads, rates)


@torch.no_grad()
def recover(
    network: Network,
    reference: Reference,
    images: Tensor,
    method: str,
    prefixes: PrefixCache | None = None,
) -> None:
    """Make a compressed network answer the images as the trained one did, in place.

    One pass over the images as one batch: each layer is corrected before the next one sees it.
    What gives what it gave before surgery stays as it is, bit for bit.

    Args:
        network: compressed, in eval mode.
        reference: of the trained network on the same images.
        images: calibration images, [B, ...].
        method: of `ALLOWED["recovery"]`: ``spread`` sets mean and standard deviation of every
            channel behind every synapse, ``mean`` the mean alone (bias correction), ``rates``
            the threshold of every neuron layer so that it fires as often as it did (which fewer
            time steps need most), and ``spread-rates`` both.
        prefixes: what other networks that recover to the same reference on the same images have
            in common with this one; the result is the same without.
    """
    made: list[Correction] = []
    passed_by: Collection[nn.Module] = ()
    with ExitStack() as watching:
        if prefixes is not None:
            passed_by = watching.enter_context(taken_up(network, prefixes, method, made))
        if method != "rates":
            correct = _Spreading(network, reference.spreads, made, keep_spread=method == "mean")
            watching.enter_context(_corrected(network, correct, passed_by))
        if method.endswith("rates"):
            watching.enter_context(_matched(network, reference.rates, made, passed_by))
        network(images)


@dataclass(frozen=True, slots=True, eq=False)
class _Affine:
    """``y * ratio + shift`` behind a synapse."""

    synapse: Synapse
    ratio: Tensor
    shift: Tensor

    def apply(self, network: Network) -> None:
        """Put it into what is behind the synapse."""
        _absorb(network, self.synapse, self.ratio, self.shift)


@dataclass(frozen=True, slots=True)
class _Threshold:
    """Threshold of a neuron layer."""

    layer: str
    value: float

    def apply(self, network: Network) -> None:
        """Set it."""
        network.get_submodule(self.layer).v_threshold = self.value  # pyright: ignore


class _Spreading:
    """Corrects what is behind a synapse, and what passes on."""

    def __init__(
        self,
        network: Network,
        spreads: Mapping[str, Spread],
        made: list[Correction],
        *,
        keep_spread: bool,
    ) -> None:
        self._network = network
        self._made = made
        self._spreads = spreads
        self._keep_spread = keep_spread
        self._rows, _ = network.declaration.rows_and_columns(network.kept_channels)

    def __call__(self, synapse: Synapse, outputs: Tensor) -> Tensor | None:
        wanted, kept = self._spreads[synapse.name], self._rows.get(synapse.name)
        mean, deviation = wanted.mean, wanted.deviation
        if kept is not None:
            mean, deviation = mean[kept], deviation[kept]
        found = Spread.of(outputs)
        if torch.equal(found.mean, mean) and torch.equal(found.deviation, deviation):
            return None
        ratio = (deviation + _EPSILON) / (found.deviation + _EPSILON)
        ratio = ratio.clamp(1 / _LARGEST_RATIO, _LARGEST_RATIO)
        if self._keep_spread:
            ratio = torch.ones_like(ratio)
        shift = mean - found.mean * ratio
        if not _absorb(self._network, synapse, ratio, shift):
            return None
        self._made.append(_Affine(synapse, ratio, shift))
        return outputs * ratio + shift


@contextmanager
def _matched(
    network: Network,
    rates: Mapping[str, Tensor],
    made: list[Correction],
    passed_by: Collection[nn.Module],
) -> Iterator[None]:
    """Sets the threshold of every neuron layer that has one before it fires."""
    kept = network.kept_channels

    def match(layer: NeuronLayer) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        channels = kept.get(layer.channels or "")
        wanted = rates[layer.name] if channels is None else rates[layer.name][channels]

        def set_threshold(neuron: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(neuron, LIF | ParametricLIF)
            fired = neuron.multi_step_forward(inputs[0])
            if torch.equal(_rates(fired), wanted):
                return
            correction = _Threshold(layer.name, _threshold(neuron, inputs[0], float(wanted.mean())))
            correction.apply(network)
            made.append(correction)

        return set_threshold

    modules = {layer: network.get_submodule(layer.name) for layer in network.declaration.neurons}
    handles = [
        module.register_forward_pre_hook(match(layer))
        for layer, module in modules.items()
        if isinstance(module, LIF | ParametricLIF) and module not in passed_by
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _threshold(neuron: LIF | ParametricLIF, currents: Tensor, wanted: float) -> float:
    """Threshold at which neurons fire at a rate, found by bisection on a logarithmic scale."""
    own = float(neuron.v_threshold)
    low, high = own / _LARGEST_RATIO, own * _LARGEST_RATIO
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        neuron.v_threshold = middle
        # A higher threshold fires less, but for resets that come at other steps.
        rate = float(neuron.multi_step_forward(currents).mean())
        low, high = (middle, high) if rate > wanted else (low, middle)
    neuron.v_threshold = own
    # Stored as float32, so computed with as such.
    return float(np.float32(math.sqrt(low * high)))


def _rates(spikes: Tensor) -> Tensor:
    """How often each channel [C] fires, of spikes [..., C]."""
    return spikes.flatten(0, -2).mean(0)


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
def _corrected(
    network: Network,
    see: Callable[[Synapse, Tensor], Tensor | None],
    passed_by: Collection[nn.Module] = (),
) -> Iterator[None]:
    """Calls `see` with the output behind every synapse; what it returns takes its place."""

    def hook(synapse: Synapse) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]:
        return lambda _module, _inputs, output: see(synapse, output)

    modules = [(synapse, _last(network, synapse)) for synapse in network.declaration.synapses]
    handles = [
        module.register_forward_hook(hook(synapse))
        for synapse, module in modules
        if module not in passed_by
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
