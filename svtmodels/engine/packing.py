"""Weights as the kernels read them: one row of output channels per input of a window."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..parts.synapse import (
    ChannelAffine,
    ChannelNorm,
    QuantisedSynapse,
    Window,
    parameters_of,
    window_of,
)

LANES = 16
"""Output channels of a group."""
BLOCK = 8
"""Groups whose sums a kernel keeps in registers."""
MOST_STEPS = 32
"""Of a network: the windows of all steps of a position are held at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """Scale and bias [16 * groups] behind a sum."""

    scale: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A synapse with all that a program needs of it.

    Attributes:
        rows: [K * K * C_in, 16 * groups], of float32 or, if quantised, of integer codes in it.
        affine: behind the sum.
        outputs: C_out.
        inputs: C_in; 1 if depthwise.
        kernel: K.
        window: how it moves.
        module: that it was made of, or that a chain was merged to.
    """

    rows: Tensor
    affine: Affine
    outputs: int
    inputs: int
    kernel: int
    window: Window
    module: nn.Module

    @property
    def quantised(self) -> QuantisedSynapse | None:
        """The module, if its weights are integers."""
        return self.module if isinstance(self.module, QuantisedSynapse) else None

    @property
    def padding(self) -> int:
        """Zeros on every side."""
        return self.window["padding"] or 0

    def blocks(self) -> Tensor:
        """Rows cut into blocks of groups, one behind the other; int16 if quantised."""
        parts = [part.reshape(-1) for part in self.rows.split(BLOCK * LANES, dim=1)]
        stored = torch.cat(parts)
        return stored.to(torch.int16) if self.quantised else stored

    def fours(self) -> Tensor:
        """Codes [K * K * C / 4, 16 * groups, 4] of four inputs each, C padded to fours: int8."""
        width = self.rows.shape[1]
        by_place = self.rows.reshape(self.kernel**2, self.inputs, width)
        padded = F.pad(by_place, (0, 0, 0, -self.inputs % 4)).reshape(-1, 4, width)
        return padded.transpose(1, 2).contiguous().to(torch.int8)

    def largest_code(self) -> int:
        """Largest magnitude of quantised weights."""
        return int(self.rows.abs().max()) if self.rows.numel() else 0


def weights_of(module: nn.Module, norm: nn.Module | None) -> Weights:
    """A synapse and the batch norm behind it; chains are merged into one."""
    weight, bias = parameters_of(module)
    if isinstance(module, QuantisedSynapse):
        scale, shift = module.scale, module.bias
    else:
        scale, shift = _folded(norm, len(weight))
        shift = shift if bias is None else bias * scale + shift
    outputs, inputs = weight.shape[:2]
    kernel = weight.shape[2] if weight.dim() > 3 else 1
    square = weight.reshape(outputs, inputs, kernel, kernel)
    spread = square.permute(2, 3, 1, 0).reshape(-1, outputs)
    return Weights(
        _padded(spread),
        Affine(_padded(scale), _padded(shift)),
        outputs,
        inputs,
        kernel,
        window_of(module),
        module,
    )


def _folded(norm: nn.Module | None, outputs: int) -> tuple[Tensor, Tensor]:
    if isinstance(norm, ChannelNorm | ChannelAffine):
        scale, bias = norm.folded()
        return scale.detach(), bias.detach()
    return torch.ones(outputs), torch.zeros(outputs)


def _padded(x: Tensor) -> Tensor:
    """Zeros behind the last axis, up to whole groups."""
    return F.pad(x.detach(), (0, -x.shape[-1] % LANES)).contiguous()
