"""The compiled sweep: the very points of the Python one, in 1.5 ms instead of 40 (100 axes)."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....spaces.space import Point
from ....svtmodels.cost_tables import CostTerm
from ....svtmodels.parts.compiled import load

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_SOURCE = Path(__file__).with_name("sweep.c")
DISABLE_VARIABLE = "SPIKEFRONT_PLAIN_SWEEP"
"""Environment variable: set to 1 to plan in Python."""

_POINTER = ctypes.c_void_p


@functools.cache
def sweep_kernel() -> ctypes.CDLL | None:
    """The compiled sweep, or None where it is switched off or cannot be built."""
    library = load(
        "sweep", [_SOURCE], switch=DISABLE_VARIABLE, otherwise="joint plans in Python, more slowly"
    )
    if library is None:
        return None
    count = ctypes.c_int64
    given = [ctypes.POINTER(_Costs), _POINTER, _POINTER, count, count, _POINTER, _POINTER, _POINTER]
    library.sweep.argtypes, library.sweep.restype = given, None
    return library


class _Costs(ctypes.Structure):
    """`struct costs` of sweep.c."""

    _fields_ = (
        ("axes", ctypes.c_int64),
        *((name, _POINTER) for name in ("first_level", "first_term", "values", "table", "stride")),
        *((name, _POINTER) for name in ("factor", "first_other", "other", "other_stride")),
    )


class CompiledSweep:
    """Costs as arrays that the kernel reads.

    Args:
        kernel: the library.
        levels: of every axis.
        of_axis: terms that depend on each axis, and their factors, in the order of summing up.
    """

    def __init__(
        self,
        kernel: ctypes.CDLL,
        levels: Sequence[int],
        of_axis: Sequence[Sequence[tuple[CostTerm, float]]],
    ) -> None:
        self._kernel = kernel
        self._room = np.empty(max(levels, default=0))
        entries = [(axis, *each) for axis, terms in enumerate(of_axis) for each in terms]
        tables: dict[int, int] = {}
        values: list[Floats] = []
        size = 0
        for _, term, _ in entries:
            if id(term) not in tables:
                tables[id(term)] = size
                values.append(np.ascontiguousarray(term.values).ravel())
                size += term.values.size
        strides = [_strides(term) for _, term, _ in entries]
        own = [
            steps[term.axes.index(axis)]
            for (axis, term, _), steps in zip(entries, strides, strict=True)
        ]
        others = [
            [(other, stride) for other, stride in zip(term.axes, steps, strict=True) if other != a]
            for (a, term, _), steps in zip(entries, strides, strict=True)
        ]
        self._arrays: dict[str, Floats | Integers] = {
            "first_level": _offsets(levels),
            "first_term": _offsets(map(len, of_axis)),
            "values": np.concatenate([*values, np.empty(0)]),
            "table": _integers(tables[id(term)] for _, term, _ in entries),
            "stride": _integers(own),
            "factor": np.array([factor for *_, factor in entries], dtype=np.float64),
            "first_other": _offsets(map(len, others)),
            "other": _integers(axis for each in others for axis, _ in each),
            "other_stride": _integers(stride for each in others for _, stride in each),
        }
        pointers = {name: array.ctypes.data for name, array in self._arrays.items()}
        self._costs = _Costs(axes=len(levels), **pointers)

    def points(
        self, damages: Sequence[Floats], prices: Floats, rounds: int, start: Point
    ) -> list[Point]:
        """Points for one price after the other, each from where the one before ended."""
        flat = np.concatenate([np.asarray(damage, dtype=np.float64) for damage in damages])
        point = np.array(start, dtype=np.int64)
        found = np.empty((len(prices), len(point)), np.int64)
        arrays = (point, self._room, found)
        self._kernel.sweep(
            ctypes.byref(self._costs),
            flat.ctypes.data,
            prices.ctypes.data,
            len(prices),
            rounds,
            *(array.ctypes.data for array in arrays),
        )
        return [tuple(row) for row in found.tolist()]


def _strides(term: CostTerm) -> list[int]:
    sizes = [1, *reversed(term.values.shape[1:])] if term.values.ndim else []
    return list(itertools.accumulate(sizes, lambda step, size: step * size))[::-1]


def _offsets(sizes: Iterable[int]) -> Integers:
    return _integers(itertools.accumulate(sizes, initial=0))


def _integers(numbers: Iterable[int]) -> Integers:
    return np.fromiter(numbers, np.int64)
