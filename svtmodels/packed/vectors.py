"""Vectors of synapses in the packed file: float32, or a shorter type times a unit per vector."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...spaces.errors import BadInput
from ..parts.short_vectors import SHORT_TYPES, widened
from .layout import vector_bytes

Vector = tuple[str, Tensor]
"""What it is, and its numbers [C_out]."""
_Packed = tuple[str, NDArray[Any], dict[str, Any]]


def pack_vectors(synapse: str, vectors: Sequence[Vector], dtype: str) -> _Packed:
    """Tensor of a synapse's vectors: name, array [rows * C_out] and entry of the manifest.

    Args:
        synapse: its name.
        vectors: of one length.
        dtype: that they are stored as, one of `ALLOWED["vectors"]`.

    Raises:
        BadInput: it does not hold them.
    """
    name, rows = _name(synapse), {"rows": [row for row, _ in vectors]}
    if dtype not in SHORT_TYPES:
        stacked = np.stack([float32(vector) for _, vector in vectors])
        return name, stacked.reshape(-1), {**float_entry(stacked), **rows}
    short = SHORT_TYPES[dtype]
    units = [short.unit_of(vector) for _, vector in vectors]
    numbers = [short.numbers_of(v, unit) for (_, v), unit in zip(vectors, units, strict=True)]
    for (row, vector), each, unit in zip(vectors, numbers, units, strict=True):
        if not torch.equal(widened(each, unit), vector):
            raise BadInput(f"the {row} of {synapse} is no {dtype}; call `to_short_vectors` last.")
    stacked = torch.stack(numbers).numpy()
    entry = {"dtype": dtype, "shape": list(stacked.shape), **rows, "units": units}
    return name, stacked.reshape(-1), entry


def unpack_vectors(
    synapse: str,
    entries: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    outputs: int,
    dtype: str,
) -> dict[str, Tensor]:
    """Vectors [C_out] of a synapse in float32, by what they are; empty if it has none.

    Args:
        synapse: its name.
        entries: of the manifest.
        arrays: of the file.
        outputs: C_out.
        dtype: that they are stored as, one of `ALLOWED["vectors"]`.

    Raises:
        ValueError: entry, array and what they should be do not fit each other.
    """
    name = _name(synapse)
    if name not in entries:
        return {}
    entry = entries[name]
    stacked = _numbers(arrays[name], entry["shape"], dtype)
    if stacked.shape[1:] != (outputs,):
        raise ValueError(f"{name} has shape {tuple(stacked.shape)}")
    vectors = list(stacked.unbind())
    if dtype in SHORT_TYPES:
        vectors = [widened(*each) for each in zip(vectors, entry["units"], strict=True)]
        units = [SHORT_TYPES[dtype].unit_of(vector) for vector in vectors]
        if entry["dtype"] != dtype or entry["units"] != units:
            raise ValueError(f"{name} is not {dtype} with the units of its numbers")
    return dict(zip(entry["rows"], vectors, strict=True))


def float32(tensor: Tensor) -> NDArray[np.float32]:
    """Numbers of a tensor, as the file holds them."""
    return tensor.detach().to(torch.float32).contiguous().numpy()


def float_entry(array: NDArray[np.float32]) -> dict[str, Any]:
    """Entry of the manifest for float32 numbers."""
    return {"dtype": "float32", "shape": list(array.shape)}


def floats(array: NDArray[Any], shape: Sequence[int]) -> Tensor:
    """Float32 numbers of a shape, without the padding of the file.

    Raises:
        ValueError: the array is not that.
    """
    return _numbers(array, shape, "float32")


def _numbers(array: NDArray[Any], shape: Sequence[int], dtype: str) -> Tensor:
    size = vector_bytes(math.prod(shape), dtype)
    if array.dtype != np.dtype(dtype) or array.nbytes != size:
        raise ValueError(f"{array.nbytes} bytes of {array.dtype} are no {dtype} of shape {shape}")
    return torch.from_numpy(array[: math.prod(shape)].copy()).reshape(tuple(shape))


def _name(synapse: str) -> str:
    return f"{synapse}.affine"
