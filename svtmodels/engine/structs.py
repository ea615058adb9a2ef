"""What the kernels are called with; field by field as in ``native/*.c``."""

from __future__ import annotations

import ctypes
from typing import Any

_COUNT, _REAL, _POINTER = ctypes.c_int64, ctypes.c_float, ctypes.c_void_p


def _fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class Neuron(ctypes.Structure):
    """`struct neuron`."""

    _fields_ = [("kind", _COUNT), *_fields(_REAL, "tau theta step half levels")]


class Spikes(ctypes.Structure):
    """`struct spikes`."""

    _fields_ = [*_fields(_POINTER, "bits counts"), ("channels", _COUNT)]


class Synapse(ctypes.Structure):
    """`struct synapse`."""

    _fields_ = [
        *_fields(_POINTER, "bits counts"),
        *_fields(_COUNT, "images height width steps inputs"),
        *_fields(_COUNT, "kernel stride padding out_height out_width outputs"),
        ("weights", _POINTER),
        *_fields(_COUNT, "integers capacity"),
        *_fields(_POINTER, "values scale bias operations"),
        ("neuron", Neuron),
        ("out", Spikes),
        *_fields(_POINTER, "currents base counted codes workspace"),
    ]


class Layer(ctypes.Structure):
    """`struct layer`."""

    _fields_ = [
        ("currents", _POINTER),
        *_fields(_COUNT, "positions steps channels is_static"),
        ("neuron", Neuron),
        ("out", Spikes),
    ]


class Attention(ctypes.Structure):
    """`struct attention`."""

    _fields_ = [
        *_fields(_POINTER, "q_bits k_bits v_bits q_counts k_counts v_counts"),
        *_fields(_COUNT, "images tokens steps heads qk v"),
        *_fields(_REAL, "unit scale"),
        ("neuron", Neuron),
        ("out", Spikes),
        *_fields(_POINTER, "currents counted products"),
    ]


class Pool(ctypes.Structure):
    """`struct pool`."""

    _fields_ = [*_fields(_POINTER, "in_ out"), *_fields(_COUNT, "images height width row")]


class Sum(ctypes.Structure):
    """`struct sum`."""

    _fields_ = [
        *_fields(_POINTER, "first_bits first_counts bits out"),
        *_fields(_COUNT, "rows channels"),
    ]


class Dense(ctypes.Structure):
    """`struct dense`."""

    _fields_ = [
        ("in_", _POINTER),
        *_fields(_COUNT, "images height width inputs"),
        *_fields(_COUNT, "kernel stride padding out_height out_width outputs"),
        *_fields(_POINTER, "weights scale bias"),
        *_fields(_REAL, "grid largest"),
        ("integers", _COUNT),
        *_fields(_POINTER, "out rounded"),
    ]


class Depthwise(ctypes.Structure):
    """`struct depthwise`."""

    _fields_ = [
        *_fields(_POINTER, "bits counts"),
        *_fields(_COUNT, "images height width steps channels kernel"),
        *_fields(_POINTER, "weights scale bias"),
        ("unit", _REAL),
        ("neuron", Neuron),
        ("out", Spikes),
        *_fields(_POINTER, "currents map"),
    ]


class Reach(ctypes.Structure):
    """`struct reach`."""

    _fields_ = [
        *_fields(_POINTER, "bits counts"),
        *_fields(_COUNT, "images height width steps channels kernel stride padding"),
        ("counted", _POINTER),
    ]


KERNELS: dict[str, type[ctypes.Structure]] = {
    "run_synapse": Synapse,
    "run_integers": Synapse,
    "run_neurons": Layer,
    "run_matrix_attention": Attention,
    "run_hadamard_attention": Attention,
    "run_token_attention": Attention,
    "pool_bits": Pool,
    "pool_currents": Pool,
    "add_spikes": Sum,
    "run_dense": Dense,
    "run_depthwise": Depthwise,
    "count_reach": Reach,
}
"""Kernels that return nothing, and what each takes."""

MEASURES: dict[str, type[ctypes.Structure]] = {
    "workspace_of": Synapse,
    "map_bytes_of": Synapse,
    "products_of": Attention,
    "spread_bytes_of": Depthwise,
}
"""Kernels that return a number."""
