"""Sizes in the packed file: what is stored, how wide, how aligned."""

from __future__ import annotations

import numpy as np

ALIGNMENT = 64
"""Every tensor starts at a multiple of this many bytes and is padded up to it, so that a reader
may map the file and hand the bytes to vector instructions or DMA as they lie."""

NEURON_NUMBERS = 2
"""Stored per neuron layer: time constant and threshold, float32."""


TERNARY_BITS = 2
"""Width whose codes are -1, 0 and 1: two bits could hold a fourth, which symmetric codes lack."""

CODES_PER_BYTE = 5
"""Codes of `TERNARY_BITS` that share a byte."""


def padded(size: int) -> int:
    """Size rounded up to the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def code_bytes(count: int, bits: int) -> int:
    """Bytes of `count` numbers of `bits` bits, packed without gaps, padding included."""
    if bits == TERNARY_BITS:
        return padded(-(-count // CODES_PER_BYTE))
    return padded(-(-count * bits // 8))


def mean_bits(bits: int) -> float:
    """Bits that a number of nominally `bits` bits takes in the file, on average."""
    return 8 / CODES_PER_BYTE if bits == TERNARY_BITS else bits


def weight_bytes(count: int, bits: int, kept: int | None = None) -> int:
    """Bytes of a weight of `count` numbers of `bits` bits, padding included.

    Args:
        count: of all its numbers.
        bits: of each.
        kept: how many of them stayed, if it was pruned.
    """
    if kept is None:
        return code_bytes(count, bits)
    return min(_sparse_bytes(count, bits, kept), code_bytes(count, dense_bits(bits)))


def stored_sparse(count: int, bits: int, kept: int) -> bool:
    """Whether a pruned weight is stored as a bitmap and the numbers that stayed.

    It is where that is smaller.
    """
    return _sparse_bytes(count, bits, kept) < code_bytes(count, dense_bits(bits))


def dense_bits(bits: int) -> int:
    """Width of all numbers of a pruned weight, stored without a bitmap.

    The two codes of one bit leave none for zero, so a pruned weight of signs is ternary.
    """
    return max(bits, TERNARY_BITS)


def _sparse_bytes(count: int, bits: int, kept: int) -> int:
    return code_bytes(kept, bits) + code_bytes(count, 1)


def float_bytes(count: int) -> int:
    """Bytes of `count` float32 numbers, padding included."""
    return padded(4 * count)


def vector_bytes(count: int, dtype: str) -> int:
    """Bytes of `count` numbers of scales and biases of a type, padding included."""
    return padded(np.dtype(dtype).itemsize * count)


def neuron_bytes(layers: int) -> int:
    """Bytes of the neuron constants of a network."""
    return float_bytes(NEURON_NUMBERS * layers)
