"""The compiled neuron of the CPU.

Without a compiler nothing is built and `lif_kernel` is None; callers then run plain torch and
`neuron_backend` says so.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch
from spikingjelly.activation_based import functional

from .compiled import load

_SOURCE = Path(__file__).with_name("lif.c")
DISABLE_VARIABLE = "SPIKEFRONT_PLAIN_NEURON"
"""Environment variable: set to 1 to run the neurons in plain torch."""


@functools.cache
def lif_kernel() -> ctypes.CDLL | None:
    """The compiled neuron, or None where it is switched off or cannot be built."""
    otherwise = "neurons run in plain torch, several times slower"
    library = load("neuron", [_SOURCE], switch=DISABLE_VARIABLE, otherwise=otherwise)
    return None if library is None else _declare(library)


def neuron_backend(device: str = "cpu") -> str:
    """Which neuron implementation runs: ``compiled``, ``torch``, or spikingjelly's on a GPU.

    Args:
        device: ``cpu`` or ``cuda``.
    """
    if device != "cpu":
        chosen = functional.neuron_implementation("lif", torch.device(device))
        return f"spikingjelly, {chosen['implementation']}"
    return "torch" if lif_kernel() is None else "compiled"


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, count, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
    for suffix in ("f32", "f64", "bf16"):
        forward = getattr(library, f"lif_forward_{suffix}")
        forward.argtypes = [pointer, pointer, count, count, count, real, real]
        forward.restype = None
        backward = getattr(library, f"lif_backward_{suffix}")
        backward.argtypes = [pointer, pointer, pointer, count, count, count, real, real, real]
        backward.restype = None
    for suffix in ("f32", "f64"):
        states = getattr(library, f"lif_states_{suffix}")
        states.argtypes = [pointer, pointer, count, count, count, real, real, real, real]
        states.restype = None
    return library
