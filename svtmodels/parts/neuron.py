"""The spiking neuron of all official networks: a multi-step LIF, stateless between calls."""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor

from .kernels import lif_kernel

SURROGATE_ALPHA = 4.0
_SUFFIX = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16"}


class Neuron(Protocol):
    """What every kind of neuron can tell about itself."""

    def potential(self, currents: Tensor) -> Tensor:
        """What decides over its spikes, [T, ...], for input currents [T, ...]."""
        ...


class LIF(neuron.LIFNode):
    """spikingjelly's `LIFNode` with the official constants, run over all T steps in one pass.

    Input [T, ...], output spikes of the same shape. Every call starts from the resting state and
    leaves none behind. On the CPU a compiled kernel does forward and backward (bit-identical
    spikes, gradients within 1e-6 of spikingjelly's); elsewhere spikingjelly's own code runs.
    Source: architectures 0.1, 0.2 (clock-driven MultiStepLIFNode, hard reset to 0).
    """

    def __init__(self, tau: float = 2.0, v_threshold: float = 1.0) -> None:
        super().__init__(
            tau=tau,
            decay_input=True,
            v_threshold=v_threshold,
            v_reset=0.0,
            surrogate_function=surrogate.Sigmoid(alpha=SURROGATE_ALPHA),
            detach_reset=True,
            step_mode="m",
        )

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Spikes [T, ...] for input currents [T, ...]."""
        if x_seq.device.type == "cpu" and x_seq.dtype in _SUFFIX and lif_kernel() is not None:
            spikes = _FusedLIF.apply(x_seq, float(self.tau), float(self.v_threshold))
            assert isinstance(spikes, Tensor)
            return spikes
        self.reset()
        plain = super().multi_step_forward(x_seq, *args, **kwargs)
        self.reset()
        assert isinstance(plain, Tensor)
        return plain

    def potential(self, currents: Tensor) -> Tensor:
        """Membrane potential before reset, [T, ...], for input currents [T, ...]."""
        return membrane(currents, float(self.tau), float(self.v_threshold))


def membrane(x: Tensor, tau: float, theta: float) -> Tensor:
    """Membrane potential before reset, [T, ...], for input currents [T, ...] of LIF neurons."""
    v = torch.zeros_like(x[0])
    potentials = []
    for current in x:
        h = v + (current - v) / tau
        potentials.append(h)
        v = torch.where(h >= theta, torch.zeros_like(h), h)
    return torch.stack(potentials)


def run_states(x: Tensor, tau: float, theta: float, step: float, half: int) -> Tensor | None:
    """Spikes of LIF neurons whose membrane is rounded to a grid, by the compiled kernel.

    Args:
        x: input currents [T, ...].
        tau: time constant.
        theta: threshold.
        step: of the grid.
        half: levels below zero; there is one less above.

    Returns:
        Spikes of the shape of `x`; None where no kernel can run.
    """
    served = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
    if not served or lif_kernel() is None:
        return None
    x, stride = _steps_in_place(x.detach())
    spikes = torch.empty(x.shape, dtype=x.dtype)
    count = x.numel() // max(x.shape[0], 1)
    sizes = (x.shape[0], count, stride)
    _call("states", x, (_at(x), _at(spikes), *sizes, tau, theta, step, float(half)))
    return spikes


class _FusedLIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: float, theta: float) -> Tensor:
        x, stride = _steps_in_place(x)
        spikes = torch.empty(x.shape, dtype=x.dtype)
        steps = x.shape[0]
        count = x.numel() // max(steps, 1)
        _call("forward", x, (_at(x), _at(spikes), steps, count, stride, tau, theta))
        ctx.save_for_backward(x)
        ctx.constants = (stride, tau, theta)
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        stride, tau, theta = ctx.constants
        gs = grads[0].contiguous()
        gx = torch.empty(x.shape, dtype=x.dtype)
        steps = x.shape[0]
        count = x.numel() // max(steps, 1)
        constants = (tau, theta, SURROGATE_ALPHA)
        _call("backward", x, (_at(x), _at(gs), _at(gx), steps, count, stride, *constants))
        return gx, None, None


def _steps_in_place(x: Tensor) -> tuple[Tensor, int]:
    """Input as the kernel reads it, and the elements between two steps (0: a repeated input)."""
    if x.shape[0] > 1 and x.stride(0) == 0 and x[0].is_contiguous():
        return x, 0
    x = x.contiguous()
    return x, x.numel() // max(x.shape[0], 1)


def _at(x: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.data_ptr())


def _call(direction: str, x: Tensor, arguments: tuple[Any, ...]) -> None:
    getattr(lif_kernel(), f"lif_{direction}_{_SUFFIX[x.dtype]}")(*arguments)
