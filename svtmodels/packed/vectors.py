"""Vectors of synapses in the packed file: float32, or float16 times a power of two per vector."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...spaces.errors import BadInput
from ..parts.half_vectors import HALF, exponent_of, numbers_of, rounded, widened
from .layout import float_bytes, half_bytes

Vector = tuple[str, Tensor]
"""What it is, and its numbers [C_out]."""
_Packed = tuple[str, NDArray[Any], dict[str, Any]]


def pack_vectors(synapse: str, vectors: Sequence[Vector], *, half: bool) -> _Packed:
    """Tensor of a synapse's vectors: name, array [rows * C_out] and entry of the manifest.

    Args:
        synapse: its name.
        vectors: of one length.
        half: whether they are stored as float16.

    Raises:
        BadInput: float16 does not hold them.
    """
    name, rows = _name(synapse), {"rows": [row for row, _ in vectors]}
    if not half:
        stacked = np.stack([float32(vector) for _, vector in vectors])
        return name, stacked.reshape(-1), {**float_entry(stacked), **rows}
    for row, vector in vectors:
        if not torch.equal(rounded(vector), vector):
            raise BadInput(f"the {row} of {synapse} is no float16; call `to_half_vectors` last.")
    exponents = [exponent_of(vector) for _, vector in vectors]
    pairs = zip(vectors, exponents, strict=True)
    stacked = torch.stack([numbers_of(vector, exponent) for (_, vector), exponent in pairs]).numpy()
    entry = {"dtype": HALF, "shape": list(stacked.shape), **rows, "exponents": exponents}
    return name, stacked.reshape(-1), entry


def unpack_vectors(
    synapse: str,
    entries: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    outputs: int,
    *,
    half: bool,
) -> dict[str, Tensor]:
    """Vectors [C_out] of a synapse in float32, by what they are; empty if it has none.

    Args:
        synapse: its name.
        entries: of the manifest.
        arrays: of the file.
        outputs: C_out.
        half: whether they are stored as float16.

    Raises:
        ValueError: entry, array and what they should be do not fit each other.
    """
    name = _name(synapse)
    if name not in entries:
        return {}
    entry = entries[name]
    stacked = (_halves if half else floats)(arrays[name], entry["shape"])
    if stacked.shape[1:] != (outputs,):
        raise ValueError(f"{name} has shape {tuple(stacked.shape)}")
    vectors = list(stacked.unbind())
    if half:
        vectors = [widened(*each) for each in zip(vectors, entry["exponents"], strict=True)]
        if entry["dtype"] != HALF or entry["exponents"] != [exponent_of(v) for v in vectors]:
            raise ValueError(f"{name} is not {HALF} with the exponents of its numbers")
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
    return _numbers(array, shape, np.dtype(np.float32), float_bytes(math.prod(shape)))


def _halves(array: NDArray[Any], shape: Sequence[int]) -> Tensor:
    return _numbers(array, shape, np.dtype(np.float16), half_bytes(math.prod(shape)))


def _numbers(array: NDArray[Any], shape: Sequence[int], dtype: np.dtype[Any], size: int) -> Tensor:
    if array.dtype != dtype or array.nbytes != size:
        raise ValueError(f"{array.nbytes} bytes of {array.dtype} are no {dtype} of shape {shape}")
    return torch.from_numpy(array[: math.prod(shape)].copy()).reshape(tuple(shape))


def _name(synapse: str) -> str:
    return f"{synapse}.affine"
