"""Synapses: convolution or linear map, and the batch norm behind it.

All activations are channel-last: maps [T, B, H, W, C], tokens [T, B, N, C]. The same memory is a
channels-last NCHW tensor, so convolutions need no transpose, and every batch norm sees [M, C].
Weights keep the official shapes.
"""

from __future__ import annotations

import abc
from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Window(TypedDict):
    """How a kernel moves over a map; `padding` is None for a pointwise map of channels."""

    padding: int | None
    stride: int
    groups: int


_POINTWISE: Window = {"padding": None, "stride": 1, "groups": 1}


class Conv(nn.Conv2d):
    """2-D convolution on channel-last maps: [..., H, W, C_in] -> [..., H', W', C_out].

    Args:
        inputs: channels.
        outputs: channels.
        kernel: height and width.
        bias: whether there is one.
        stride: along both axes.
        padding: zeros on every side; half the kernel if None, which keeps the map's size.
        groups: as many as channels for a depthwise convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        bias: bool = False,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
    ) -> None:
        margin = kernel // 2 if padding is None else padding
        super().__init__(inputs, outputs, kernel, stride, margin, bias=bias, groups=groups)
        self.window: Window = {"padding": margin, "stride": stride, "groups": groups}

    def forward(self, input: Tensor) -> Tensor:
        """Convolve every map; leading axes are batch."""
        return convolve(input, self.weight, self.bias, **self.window)


class Pointwise(nn.Module):
    """Linear map of channels: [..., C_in] -> [..., C_out].

    Official networks write it as Linear or as Conv1d/Conv2d with kernel 1; `trailing` is the
    number of kernel axes in the weight's shape [C_out, C_in, 1, ...].
    """

    def __init__(self, inputs: int, outputs: int, bias: bool, trailing: int = 0) -> None:
        super().__init__()
        linear = nn.Linear(inputs, outputs, bias)
        self.weight = nn.Parameter(linear.weight.detach().reshape(_pointwise(linear, trailing)))
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis."""
        return F.linear(x, self.weight.flatten(1), self.bias)


class ChannelNorm(nn.BatchNorm1d):
    """Batch norm over the last axis; keys and constants as BatchNorm1d and BatchNorm2d.

    In eval it is one multiplication and one addition per element, rounded in this order: torch's
    own kernel may fuse them, which no other execution could then reproduce bit for bit.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [..., C] over all leading axes."""
        if not self.training:
            scale, bias = self.folded()
            return (input * scale).add_(bias)
        # [1, C, M, 1] in channels-last order: the layout that torch's CPU kernel vectorises.
        flat = input.reshape(1, -1, 1, input.shape[-1]).permute(0, 3, 1, 2)
        return super().forward(flat).permute(0, 2, 3, 1).reshape(input.shape)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Scale and bias [C] that it amounts to in eval."""
        assert self.running_var is not None and self.running_mean is not None
        scale = self.weight / torch.sqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale

    def _check_input_dim(self, input: Tensor) -> None:
        # The shape is made in `forward`.
        pass


class ChannelAffine(nn.Module):
    """What a `ChannelNorm` amounts to in eval: [..., C] * scale + bias."""

    scale: Tensor
    bias: Tensor

    def __init__(self, scale: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift the last axis."""
        return (x * self.scale).add_(self.bias)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Scale and bias [C]."""
        return self.scale, self.bias


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: int | None = None,
    stride: int = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of channel-last maps [..., H, W, C_in] -> [..., H', W', C_out]."""
    maps = x.reshape(-1, *x.shape[-3:]).permute(0, 3, 1, 2)
    out = F.conv2d(maps, weight, bias, stride, padding or 0, groups=groups)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-3], *out.shape[-2:], out.shape[1])


def pool(x: Tensor) -> Tensor:
    """Max pooling 3x3, stride 2, padding 1, of channel-last maps."""
    maps = x.reshape(-1, *x.shape[-3:]).permute(0, 3, 1, 2)
    out = F.max_pool2d(maps, 3, stride=2, padding=1)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-3], *out.shape[-2:], out.shape[1])


class QuantisedSynapse(nn.Module):
    """A synapse with integer weights: the arithmetic contract's definition in plain torch.

    ``y = acc * scale + bias`` per output channel, in this order, where ``acc`` is the exact
    integer sum of integer inputs times integer codes; scale and bias carry the folded batch
    norm. Inputs are spikes or spike sums; real-valued inputs (the image, the pooled features of
    the classifier) are first rounded to the grid ``1 / grid``, and the scale carries that grid;
    gradients pass the rounding as if it were not there, so that what lies before can be tuned.

    The sum runs in float32, which is exact below 2^24 whatever its order, and in float64 where
    `exact_in_float32` cannot promise that.

    Args:
        codes: int8, shape of the official weight.
        scale: float [C_out].
        bias: float [C_out].
        bits: width that the codes are stored with, 1..8.
        grid: steps per unit of a real-valued input; 1 for spikes.
        padding: of a convolution; None for a pointwise map.
        max_input: largest magnitude of an input, in grid steps.
        stride: of a convolution.
        groups: of a convolution.
    """

    codes: Tensor
    scale: Tensor
    bias: Tensor
    weight: Tensor

    def __init__(
        self,
        codes: Tensor,
        scale: Tensor,
        bias: Tensor,
        *,
        bits: int,
        grid: int,
        padding: int | None,
        max_input: int,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.bits = bits
        self.grid = grid
        self.padding = padding
        self.stride = stride
        self.groups = groups
        self.max_input = max_input
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)
        row = codes.flatten(1).to(torch.int64).abs().sum(1).max().item()
        self.exact_in_float32 = row * max_input < 2**24
        # The codes as floats, so that no conversion runs per call; never stored.
        self.register_buffer("weight", codes.to(scale.dtype), persistent=False)

    @property
    def window(self) -> Window:
        """How the kernel moves."""
        return {"padding": self.padding, "stride": self.stride, "groups": self.groups}

    def forward(self, x: Tensor) -> Tensor:
        """[..., C_in] -> [..., C_out]."""
        if self.grid != 1:
            x = round_through(x * self.grid).clamp(-self.max_input, self.max_input)
        return self._affine(self._accumulate(x), x.dtype)

    def _affine(self, acc: Tensor, dtype: torch.dtype) -> Tensor:
        return acc.to(dtype).mul_(self.scale).add_(self.bias)

    def _accumulate(self, x: Tensor) -> Tensor:
        """Exact sums; float64 where float32 might round them."""
        if self.exact_in_float32 or x.dtype == torch.float64:
            return self._product(x, self.weight)
        return self._product(x.double(), self.codes.double())

    def _product(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.padding is None:
            return F.linear(x, weight.flatten(1))
        return convolve(x, weight, None, **self.window)


class CompositeSynapse(nn.Module, abc.ABC):
    """A synapse stored as a chain of linear maps and batch norms that amounts to a single one."""

    @abc.abstractmethod
    def merged(self) -> tuple[Tensor, Tensor]:
        """Weight [C_out, C_in, ...] and bias [C_out] of the one synapse that it is in eval."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of the merged weight."""

    @property
    def window(self) -> Window:
        """How the merged kernel moves."""
        return _POINTWISE


def merged_synapse(chain: CompositeSynapse, weight: Tensor, bias: Tensor) -> Conv | Pointwise:
    """The one synapse that a chain amounts to, with this weight and bias."""
    outputs, inputs, *kernel = weight.shape
    window = chain.window
    with torch.device("meta"):
        if window["padding"] is None:
            merged = Pointwise(inputs, outputs, bias=True, trailing=len(kernel))
        else:
            merged = Conv(inputs, outputs, kernel[0], bias=True, **window)
    merged.weight, merged.bias = nn.Parameter(weight), nn.Parameter(bias)
    return merged


def parameters_of(synapse: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight [C_out, C_in, ...] and bias [C_out] of any kind of synapse, detached."""
    if isinstance(synapse, CompositeSynapse):
        weight, bias = synapse.merged()
        return weight.detach(), bias.detach()
    weight, bias = synapse.weight, synapse.bias
    assert isinstance(weight, Tensor)
    return weight.detach(), bias.detach() if isinstance(bias, Tensor) else None


def shape_of(synapse: nn.Module) -> tuple[int, ...]:
    """Shape [C_out, C_in / groups, ...] of the weight of any kind of synapse."""
    if isinstance(synapse, CompositeSynapse):
        return synapse.shape
    weight = synapse.weight
    assert isinstance(weight, Tensor)
    return tuple(weight.shape)


def window_of(synapse: nn.Module) -> Window:
    """How the kernel of any kind of synapse moves."""
    return (
        synapse.window
        if isinstance(synapse, Conv | CompositeSynapse | QuantisedSynapse)
        else _POINTWISE
    )


def round_through(x: Tensor) -> Tensor:
    """Nearest integers, exactly; the gradient is that of the identity (straight-through)."""
    return x.round().detach() + (x - x.detach()) if x.requires_grad else x.round()


def _pointwise(linear: nn.Linear, trailing: int) -> tuple[int, ...]:
    return (linear.out_features, linear.in_features, *(1,) * trailing)
