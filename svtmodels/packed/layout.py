"""Sizes in the packed file: what is stored, how wide, how aligned."""

from __future__ import annotations

ALIGNMENT = 64
"""Every tensor starts at a multiple of this many bytes and is padded up to it, so that a reader
may map the file and hand the bytes to vector instructions or DMA as they lie."""

NEURON_NUMBERS = 2
"""Stored per neuron layer: time constant and threshold, float32."""


def padded(size: int) -> int:
    """Size rounded up to the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def code_bytes(count: int, bits: int) -> int:
    """Bytes of `count` numbers of `bits` bits, packed without gaps, padding included."""
    return padded(-(-count * bits // 8))


def weight_bytes(count: int, bits: int, kept: int | None = None) -> int:
    """Bytes of a weight of `count` numbers of `bits` bits, padding included.

    Args:
        count: of all its numbers.
        bits: of each.
        kept: how many of them stayed, if it was pruned.
    """
    if kept is None or not stored_sparse(count, bits, kept):
        return code_bytes(count, bits)
    return code_bytes(kept, bits) + code_bytes(count, 1)


def stored_sparse(count: int, bits: int, kept: int) -> bool:
    """Whether a pruned weight is stored as a bitmap and the numbers that stayed.

    It is where that is smaller; always at one bit, whose two codes leave none for zero.
    """
    return bits == 1 or code_bytes(kept, bits) + code_bytes(count, 1) < code_bytes(count, bits)


def float_bytes(count: int) -> int:
    """Bytes of `count` float32 numbers, padding included."""
    return padded(4 * count)


def half_bytes(count: int) -> int:
    """Bytes of `count` float16 numbers, padding included."""
    return padded(2 * count)


def neuron_bytes(layers: int) -> int:
    """Bytes of the neuron constants of a network."""
    return float_bytes(NEURON_NUMBERS * layers)
