"""The layers that Spike-Driven Transformer v2 and v3 share: residual streams are membranes.

Every branch begins with a neuron and ends in a batch norm. All layers work on maps [T, B, H, W, C]
or, where they are pointwise, on tokens [T, B, N, C].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from .declaration import AttentionProduct, Declaration, Place, Stream
from .parts.attention import spiking_attention
from .parts.frames import frames, repeat
from .parts.synapse import ChannelNorm, CompositeSynapse, Conv, Pointwise, shape_of
from .parts.tokens import Places


@dataclass(frozen=True)
class NeuronKind:
    """The neurons of a network.

    Attributes:
        suffix: of their official names: ``q_lif`` or ``q_spike``.
        make: makes one.
        attention: makes one that stands behind the product of an attention.
    """

    suffix: str
    make: Callable[[], nn.Module]
    attention: Callable[[], nn.Module]


class Encoder(nn.Module):
    """The first downsampling: 7x7, stride 2, on a static image, whose currents all steps share."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.encode_conv = Conv(inputs, outputs, 7, bias=True, stride=2)
        self.encode_bn = ChannelNorm(outputs)

    def forward(self, x: Tensor, steps: int) -> Tensor:
        """Residual stream [T, B, H/2, W/2, C] of images [B, C_in, H, W]."""
        images, steps = frames(x, steps, static=True)
        return repeat(self.encode_bn(self.encode_conv(images)), steps)


class DownSampling(nn.Module):
    """Neuron, 3x3 convolution with a bias, batch norm; no shortcut."""

    def __init__(self, kind: NeuronKind, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self._neuron = f"encode_{kind.suffix}"
        self.add_module(self._neuron, kind.make())
        self.encode_conv = Conv(inputs, outputs, 3, bias=True, stride=stride)
        self.encode_bn = ChannelNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [T, B, H, W, C_in] -> [T, B, H', W', C_out]."""
        return self.encode_bn(self.encode_conv(self.neuron(x)))

    @property
    def neuron(self) -> nn.Module:
        """The neuron, whatever its official name."""
        return self.get_submodule(self._neuron)


class ConvBlock(nn.Module):
    """``x + separable(x)``, then the same with two convolutions 3x3.

    Args:
        kind: of its neurons.
        dim: channels of the residual stream.
        hidden: channels between the convolutions.
        separable: the separable convolution.
    """

    def __init__(self, kind: NeuronKind, dim: int, hidden: int, separable: nn.Module) -> None:
        super().__init__()
        self.suffix = kind.suffix
        self.Conv = separable
        for index, inputs, outputs in (("1", dim, hidden), ("2", hidden, dim)):
            self.add_module(f"{kind.suffix}{index}", kind.make())
            self.add_module(f"conv{index}", Conv(inputs, outputs, 3))
            self.add_module(f"bn{index}", ChannelNorm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [T, B, H, W, C] to maps."""
        branch = x = x + self.Conv(x)
        for index in ("1", "2"):
            for name in (f"{self.suffix}{index}", f"conv{index}", f"bn{index}"):
                branch = self.get_submodule(name)(branch)
        return x + branch


class Mlp(nn.Module):
    """Two pointwise synapses with a bias, a neuron before each."""

    def __init__(self, kind: NeuronKind, dim: int, hidden: int) -> None:
        super().__init__()
        self.suffix = kind.suffix
        for name, inputs, outputs in (("fc1", dim, hidden), ("fc2", hidden, dim)):
            self.add_module(f"{name}_{kind.suffix}", kind.make())
            self.add_module(f"{name}_conv", Pointwise(inputs, outputs, bias=True, trailing=1))
            self.add_module(f"{name}_bn", ChannelNorm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, ..., C] to currents of the same shape."""
        for name in ("fc1", "fc2"):
            for part in (self.suffix, "conv", "bn"):
                x = self.get_submodule(f"{name}_{part}")(x)
        return x


class Attention(nn.Module):
    """``proj(neuron(q (k^T v) scale))`` with q, k, v = ``neuron(synapse(neuron(x)))``.

    Args:
        kind: of its neurons.
        heads: number of heads.
        scale: a constant of the trained network, whatever the widths are now.
        synapses: of ``q``, ``k``, ``v`` and ``proj``, their batch norms included.
    """

    def __init__(
        self, kind: NeuronKind, heads: int, scale: float, synapses: Mapping[str, nn.Module]
    ) -> None:
        super().__init__()
        self.suffix = kind.suffix
        self.heads = heads
        self.scale = scale
        for name in ("head", "q", "k", "v"):
            self.add_module(f"{name}_{kind.suffix}", kind.make())
        self.add_module(f"attn_{kind.suffix}", kind.attention())
        for name, synapse in synapses.items():
            self.add_module(f"{name}_conv", synapse)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, ..., C] to currents of the same shape."""
        spikes = self._fire("head", x)
        q, k, v = (self._fire(n, self._synapse(n, spikes)).flatten(2, -2) for n in ("q", "k", "v"))
        return self._synapse("proj", self._mix(q, k, v).unflatten(2, x.shape[2:-1]))

    def masked(self, x: Tensor, places: Places) -> Tensor:
        """Currents [T, B, k, C] of the tokens that pass, where the synapses need the grid.

        The synapses run on the whole map, on which the other tokens fire nothing, and their
        currents at the other tokens are thrown away. Neurons and products see what passes alone.
        """
        maps = places.spread_map(self._fire("head", x))
        q, k, v = (
            self._fire(n, places.collect_map(self._synapse(n, maps))) for n in ("q", "k", "v")
        )
        mixed = places.spread_map(self._mix(q, k, v))
        return places.collect_map(self._synapse("proj", mixed))

    def _mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self._fire("attn", spiking_attention(q, k, v, self.heads, self.scale))

    def _fire(self, name: str, x: Tensor) -> Tensor:
        return self.get_submodule(f"{name}_{self.suffix}")(x)

    def _synapse(self, name: str, x: Tensor) -> Tensor:
        return self.get_submodule(f"{name}_conv")(x)


def normed(synapse: Conv | Pointwise | CompositeSynapse) -> nn.Sequential:
    """A synapse and the batch norm behind it, under the official keys ``0`` and ``1``."""
    return nn.Sequential(synapse, ChannelNorm(shape_of(synapse)[0]))


def declare_downsampling(path: str, place: Place, kind: NeuronKind, before: Stream) -> Declaration:
    """What a `DownSampling` declares, which ends one stream and opens that of its place."""
    name = f"{path}.encode"
    return Declaration(
        place.synapses(path, "encode"),
        neurons=place.neurons(path, **{f"encode_{kind.suffix}": before.name}),
        residuals=(*before.group(reads=(name,)), *place.residuals(writes=(name,))),
    )


def declare_convolutions(path: str, place: Place, kind: NeuronKind, hidden: int) -> Declaration:
    """What the two convolutions of a `ConvBlock` declare."""
    first, second, group = f"{path}.conv1", f"{path}.conv2", f"{path}.hidden"
    return Declaration(
        (
            place.synapse(first, first, f"{path}.bn1"),
            place.synapse(second, second, f"{path}.bn2"),
        ),
        (place.group(group, hidden, (first,), (second,)),),
        neurons=place.neurons(
            path, **{f"{kind.suffix}1": place.residual, f"{kind.suffix}2": group}
        ),
        residuals=place.residuals(writes=(second,), reads=(first,)),
    )


def declare_mlp(path: str, place: Place, kind: NeuronKind, hidden: int) -> Declaration:
    """What an `Mlp` declares."""
    group, enter, leave = f"{path}.hidden", f"{path}.fc1", f"{path}.fc2"
    followed = {"fc1": place.residual, "fc2": group}
    return Declaration(
        place.synapses(path, "fc1", "fc2"),
        (place.group(group, hidden, (enter,), (leave,)),),
        neurons=place.neurons(path, **{f"{n}_{kind.suffix}": g for n, g in followed.items()}),
        residuals=place.residuals(writes=(leave,), reads=(enter,)),
    )


def declare_product(
    path: str, place: Place, kind: NeuronKind, heads: int, qk: int, v: int
) -> Declaration:
    """What an `Attention` declares besides its synapses.

    Args:
        path: of the attention.
        place: where it stands.
        kind: of its neurons.
        heads: number of heads.
        qk: channels of queries and keys.
        v: channels of values.
    """
    first, second = f"{path}.qk", f"{path}.v"
    followed = {"head": place.residual, "q": first, "k": first, "v": second, "attn": second}
    return Declaration(
        channels=(
            place.group(first, qk, (f"{path}.q", f"{path}.k"), heads=heads),
            place.group(second, v, (f"{path}.v",), (f"{path}.proj",), heads=heads),
        ),
        attentions=(
            AttentionProduct(
                path,
                place.positions,
                heads,
                first,
                second,
                place.tokens,
                neurons=kind.suffix,
            ),
        ),
        neurons=place.neurons(path, **{f"{n}_{kind.suffix}": g for n, g in followed.items()}),
        residuals=place.residuals(
            writes=(f"{path}.proj",), reads=(f"{path}.q", f"{path}.k", f"{path}.v")
        ),
    )
