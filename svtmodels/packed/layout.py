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
    """Bytes of `count` integers of `bits` bits, packed without gaps, padding included."""
    return padded(-(-count * bits // 8))


def float_bytes(count: int) -> int:
    """Bytes of `count` float32 numbers, padding included."""
    return padded(4 * count)


def neuron_bytes(layers: int) -> int:
    """Bytes of the neuron constants of a network."""
    return float_bytes(NEURON_NUMBERS * layers)
