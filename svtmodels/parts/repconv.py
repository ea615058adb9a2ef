"""Synapses that are trained as a chain of linear maps and amount to a single one (RepConv)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from ..declaration import Declaration, Place, Source
from .synapse import (
    ChannelAffine,
    ChannelNorm,
    CompositeSynapse,
    Conv,
    Pointwise,
    Window,
    parameters_of,
)


class PaddedNorm(nn.Module):
    """Batch norm, then a margin of one pixel that holds what the norm makes of zero.

    The margin is thus what the norm would give had its input been padded with zeros; in training
    it comes from the running statistics and gets no gradient, as in the official code.
    """

    bn: ChannelNorm | ChannelAffine

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., H, W, C] -> [..., H + 2, W + 2, C]."""
        y = self.bn(x)
        *leading, height, width, channels = y.shape
        margin = self.bn.folded()[1].detach().to(y.dtype)
        out = margin.expand(*leading, height + 2, width + 2, channels).contiguous()
        out[..., 1:-1, 1:-1, :] = y
        return out


class RepConv(CompositeSynapse):
    """A convolution 3x3, stride 1, padding 1, as 1x1, batch norm, depthwise 3x3, 1x1, batch norm.

    Args:
        inputs: channels.
        outputs: channels.
        middle: channels between the two 1x1.
    """

    def __init__(self, inputs: int, outputs: int, middle: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Pointwise(inputs, middle, bias=False, trailing=2),
            PaddedNorm(middle),
            nn.Sequential(
                Conv(middle, middle, 3, padding=0, groups=middle),
                Pointwise(middle, outputs, bias=False, trailing=2),
                ChannelNorm(outputs),
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., H, W, C_in] -> [..., H, W, C_out]."""
        return self.body(x)

    @override
    @torch.no_grad()
    def merged(self) -> tuple[Tensor, Tensor]:
        enter, shift = _folded(self._part("0"), self._part("1.bn"))
        depth = parameters_of(self._part("2.0"))[0].flatten(1)
        leave, bias = _folded(self._part("2.1"), self._part("2.2"))
        # Per kernel position p: leave[o, m] depth[m, p] enter[m, k], summed over m.
        spread = leave[:, None, :] * depth.t()
        kernel = (spread @ enter).transpose(1, 2).reshape(self.shape)
        return kernel, leave @ (shift * depth.sum(1)) + bias

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        outputs = len(parameters_of(self._part("2.1"))[0])
        return outputs, parameters_of(self._part("0"))[0].shape[1], 3, 3

    @property
    @override
    def window(self) -> Window:
        return {"padding": 1, "stride": 1, "groups": 1}

    def _part(self, path: str) -> nn.Module:
        return self.body.get_submodule(path)


class RepConv1d(CompositeSynapse):
    """A pointwise map as two of them, each with a batch norm.

    Args:
        inputs: channels.
        outputs: channels.
        middle: channels between.
    """

    def __init__(self, inputs: int, outputs: int, middle: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(Pointwise(inputs, middle, False, 1), ChannelNorm(middle))
        self.conv2 = nn.Sequential(Pointwise(middle, outputs, False, 1), ChannelNorm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[..., C_in] -> [..., C_out]."""
        return self.conv2(self.conv1(x))

    @override
    @torch.no_grad()
    def merged(self) -> tuple[Tensor, Tensor]:
        enter, shift = _folded(*self.conv1)
        leave, bias = _folded(*self.conv2)
        return (leave @ enter)[..., None], leave @ shift + bias

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        outputs = len(parameters_of(self.conv2[0])[0])
        return outputs, parameters_of(self.conv1[0])[0].shape[1], 1


def declare_repconv(
    name: str, weight: str, norm: str | None, place: Place, middle: int
) -> Declaration:
    """What a `RepConv` declares: one synapse, and the channels in the middle of its chain.

    Args:
        name: of the synapse.
        weight: path of the `RepConv`.
        norm: path of the batch norm behind it; None if there is none.
        place: where it stands.
        middle: its channels between.
    """
    body = f"{weight}.body"
    enter = place.synapse(f"{name}.enter", f"{body}.0", f"{body}.1.bn")
    depth = place.synapse(f"{name}.depth", f"{body}.2.0", None, source=Source.CURRENTS)
    leave = place.synapse(f"{name}.leave", f"{body}.2.1", f"{body}.2.2", source=Source.CURRENTS)
    group = place.group(
        f"{name}.middle", middle, (enter.name,), (leave.name,), carriers=(depth.name,)
    )
    return Declaration((place.synapse(name, weight, norm, links=(enter, depth, leave)),), (group,))


def declare_repconv1d(
    name: str, weight: str, norm: str | None, place: Place, middle: int
) -> Declaration:
    """What a `RepConv1d` declares; arguments as for `declare_repconv`."""
    enter = place.synapse(f"{name}.enter", f"{weight}.conv1.0", f"{weight}.conv1.1")
    leave = place.synapse(
        f"{name}.leave", f"{weight}.conv2.0", f"{weight}.conv2.1", source=Source.CURRENTS
    )
    group = place.group(f"{name}.middle", middle, (enter.name,), (leave.name,))
    return Declaration((place.synapse(name, weight, norm, links=(enter, leave)),), (group,))


def _folded(synapse: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Matrix [C_out, C_in] and bias [C_out] of a pointwise map without bias and its batch norm."""
    assert isinstance(norm, ChannelNorm | ChannelAffine)
    scale, bias = norm.folded()
    return parameters_of(synapse)[0].flatten(1) * scale[:, None], bias
