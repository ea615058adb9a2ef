"""One weight in the packed file: dense, or a bitmap and the numbers that it marks.

The form follows from counts alone, so that sizes are known before anything is built. A bitmap
marks as many numbers as stayed of a pruned weight: all that are not zero, and as many of the first
zeros, in raster order, as rounding made zero since. Of two bits, five numbers share a byte, and so
do those of one bit that was pruned where a bitmap would take more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spaces.site import HALF_BITS, INTEGER_BITS, UNTOUCHED_BITS
from .bitstream import pack_bits, unpack_bits
from .layout import ALIGNMENT, CODES_PER_BYTE, TERNARY_BITS, code_bytes, dense_bits, stored_sparse
from .ternary import pack_trits, unpack_trits

Tensors = dict[str, tuple[NDArray[Any], dict[str, Any]]]
"""Arrays of the file, one-dimensional and not yet padded, and what the manifest says of each."""

_FLOATS = {UNTOUCHED_BITS: np.dtype(np.float32), HALF_BITS: np.dtype(np.float16)}


def weight_name(synapse: str, bits: int) -> str:
    """Name of the tensor that holds a synapse's weight."""
    return f"{synapse}.codes" if bits in INTEGER_BITS else f"{synapse}.weight"


def pack_weight(synapse: str, values: NDArray[Any], bits: int, kept: int | None) -> Tensors:
    """Tensors of a weight.

    Args:
        synapse: its name.
        values: int8 codes or floats, of the weight's shape.
        bits: 1..8 for codes, 16 or 32 for floats.
        kept: numbers that stayed, if it was pruned.
    """
    flat, tensors = values.reshape(-1), {}
    sparse, width = _form(flat.size, bits, kept)
    entry: dict[str, Any] = {"shape": list(values.shape), **_number_format(width)}
    if kept is not None:
        entry["kept"] = kept
    if kept is not None and sparse:
        marked = _marked(flat, kept)
        flat = flat[marked]
        bitmap = {"shape": list(values.shape), "dtype": "bool", "order": "lsb-first"}
        tensors[f"{synapse}.bitmap"] = (np.packbits(marked, bitorder="little"), bitmap)
    return {weight_name(synapse, bits): (_packed(flat, width), entry), **tensors}


def unpack_weight(
    synapse: str,
    bits: int,
    pruned: bool,
    entries: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> tuple[NDArray[Any], int | None]:
    """Codes (int8) or floats (float32) of a weight, and how many numbers stayed of it.

    Args:
        synapse: its name.
        bits: that the candidate chose.
        pruned: whether the candidate chose a density.
        entries: of the manifest.
        arrays: of the file.

    Raises:
        ValueError: entry, arrays and candidate do not fit each other.
    """
    name = weight_name(synapse, bits)
    entry = entries[name]
    shape, kept = tuple(entry["shape"]), entry.get("kept")
    count = math.prod(shape)
    if pruned != (kept is not None) or (pruned and not 0 <= kept <= count):
        raise ValueError(f"{name} keeps {kept} of {count} numbers")
    sparse, width = _form(count, bits, kept)
    if any(entry[key] != value for key, value in _number_format(width).items()):
        raise ValueError(f"{name} is not stored in {width} bits")
    if kept is None or not sparse:
        return _numbers(name, arrays, width, count).reshape(shape), kept
    marked = _bitmap(f"{synapse}.bitmap", arrays, count)
    if marked.sum() != kept:
        raise ValueError(f"{synapse}.bitmap marks {marked.sum()} numbers instead of {kept}")
    numbers = _numbers(name, arrays, width, kept)
    values = np.zeros(count, numbers.dtype)
    values[marked] = numbers
    return values.reshape(shape), kept


def _form(count: int, bits: int, kept: int | None) -> tuple[bool, int]:
    """Whether a weight has a bitmap, and the width that its numbers are stored with."""
    if kept is None:
        return False, bits
    sparse = stored_sparse(count, bits, kept)
    return sparse, bits if sparse else dense_bits(bits)


def _number_format(bits: int) -> dict[str, Any]:
    if bits not in INTEGER_BITS:
        return {"dtype": _FLOATS[bits].name}
    if bits == TERNARY_BITS:
        digits = {"order": "base-3", "per_byte": CODES_PER_BYTE, "levels": [-1, 0, 1]}
        return {"bits": bits, "signed": True, **digits}
    levels = {"zero_point": 2 ** (bits - 1)} if bits > 1 else {"levels": [-1, 1]}
    return {"bits": bits, "signed": True, "order": "lsb-first", **levels}


def _packed(flat: NDArray[Any], bits: int) -> NDArray[Any]:
    if bits not in INTEGER_BITS:
        return flat.astype(_FLOATS[bits])
    return pack_trits(flat) if bits == TERNARY_BITS else pack_bits(flat, bits)


def _marked(flat: NDArray[Any], kept: int) -> NDArray[np.bool_]:
    marked = flat != 0
    missing = kept - int(marked.sum())
    if missing < 0:
        raise ValueError(f"{marked.sum()} numbers are not zero, but {kept} were to stay")
    marked[np.flatnonzero(~marked)[:missing]] = True
    return marked


def _bitmap(name: str, arrays: Mapping[str, NDArray[Any]], count: int) -> NDArray[np.bool_]:
    array = arrays[name]
    if array.dtype != np.uint8 or array.nbytes != code_bytes(count, 1):
        raise ValueError(f"{name} has {array.nbytes} bytes")
    return np.unpackbits(array, count=count, bitorder="little").astype(np.bool_)


def _numbers(name: str, arrays: Mapping[str, NDArray[Any]], bits: int, count: int) -> NDArray[Any]:
    array = arrays[name]
    stored = np.dtype(np.uint8) if bits in INTEGER_BITS else _FLOATS[bits]
    if array.dtype != stored or array.nbytes != code_bytes(count, bits):
        raise ValueError(f"{name} has {array.nbytes} bytes of {array.dtype}, aligned {ALIGNMENT}")
    if bits == TERNARY_BITS:
        return unpack_trits(array, count)
    if bits in INTEGER_BITS:
        return unpack_bits(array, bits, count)
    return array[:count].astype(np.float32)
