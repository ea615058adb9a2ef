"""Where the time of a program goes, kernel by kernel, and what the machine could do at best."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from spikefront.svtmodels.engine.context import Context
from spikefront.svtmodels.engine.program import Program

from .engine_cases import EngineCase
from .pairing import seconds, time_alone

_SIDE = 1024
_SYNAPSES = ("run_synapse", "run_integers")


@dataclass(slots=True)
class Spent:
    """What one kernel did at one layer shape, over all calls.

    Attributes:
        seconds: wall time.
        macs: if all inputs were dense; 0 where that is not counted.
        synops: accumulates of real spikes; 0 where they are not counted.
    """

    seconds: float = 0.0
    macs: int = 0
    synops: int = 0


def measure_peaks(repeats: int) -> list[dict[str, Any]]:
    """Rows: multiply-accumulates per second of square matrix products, the best of all repeats."""
    generator = torch.Generator().manual_seed(0)
    reals = torch.randn(_SIDE, _SIDE, generator=generator)
    integers = torch.randint(-128, 128, (_SIDE, _SIDE), generator=generator, dtype=torch.int8)
    products: dict[str, Callable[[], object]] = {
        "float32": lambda: torch.mm(reals, reals),
        "int8": lambda: torch.ops.aten._int_mm(integers, integers),
    }
    return [
        {
            "part": "peak",
            "type": name,
            "side": _SIDE,
            "macs_per_second": _SIDE**3 / min(time_alone(product, repeats)),
        }
        for name, product in products.items()
    ]


@torch.inference_mode()
def measure_kernels(case: EngineCase, bits: int, repeats: int) -> list[dict[str, Any]]:
    """Rows: per kernel and layer shape its time in one pass, and all that is no kernel."""
    program = Program(case.built(bits))
    program(case.images)
    with timed_kernels() as spent:
        whole = sum(seconds(lambda: program(case.images)) for _ in range(repeats))
    inside = sum(each.seconds for each in spent.values())
    left = {("no kernel", "torch and Python"): Spent(whole - inside)}
    return [
        {
            "part": "kernels",
            "network": case.name,
            "bits": bits,
            "images": len(case.images),
            "passes": repeats,
            "kernel": kernel,
            "layer": layer,
            "milliseconds": 1000 * each.seconds / repeats,
            "share": each.seconds / whole,
            "macs_per_second": each.macs / each.seconds,
            "synops_per_second": each.synops / each.seconds,
        }
        for (kernel, layer), each in sorted(
            {**spent, **left}.items(), key=lambda item: -item[1].seconds
        )
    ]


@contextmanager
def timed_kernels() -> Iterator[dict[tuple[str, str], Spent]]:
    """Times of all kernels that run inside, by kernel and layer shape."""
    spent: dict[tuple[str, str], Spent] = defaultdict(Spent)
    original = Context.run

    def run(self: Context, kernel: str, arguments: ctypes.Structure) -> None:
        took = seconds(lambda: original(self, kernel, arguments))
        each = spent[kernel, _layer(kernel, arguments)]
        each.seconds += took
        if kernel in _SYNAPSES:
            each.macs += _macs(arguments)
            each.synops += _counted(arguments)

    Context.run = run
    try:
        yield spent
    finally:
        Context.run = original


def _layer(kernel: str, arguments: Any) -> str:
    if kernel not in _SYNAPSES:
        return ""
    spikes = "spikes" if arguments.bits else "integer spikes"
    a = arguments
    window = f"{a.kernel} x {a.kernel}, " if a.kernel > 1 else ""
    return f"{a.inputs} to {a.outputs}, {window}{a.out_height} x {a.out_width}, {spikes}"


def _macs(a: Any) -> int:
    rows = a.images * a.out_height * a.out_width * a.steps
    return rows * a.kernel**2 * a.inputs * a.outputs


def _counted(a: Any) -> int:
    return sum((ctypes.c_int64 * a.images).from_address(a.counted))
