"""Signed integers of 1 and 3..8 bits as a byte stream without gaps, lowest bit first.

Those of two bits are digits of base 3 (`ternary`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pack_bits(codes: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """Bytes that hold the codes one behind the other.

    Each code is stored as ``code + 2^(bits-1)``, so as an unsigned integer; bit 0 of the first
    code is bit 0 of the first byte. The last byte is filled with zeros. Codes of one bit are -1
    and 1, stored as 0 and 1.
    """
    if bits == 1:
        return np.packbits(codes.reshape(-1) > 0, bitorder="little")
    unsigned = (codes.reshape(-1).astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    planes = np.unpackbits(unsigned[:, None], axis=1, count=bits, bitorder="little")
    return np.packbits(planes.reshape(-1), bitorder="little")


def unpack_bits(stream: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.int8]:
    """The first `count` codes of a stream."""
    planes = np.unpackbits(stream, count=count * bits, bitorder="little").reshape(count, bits)
    if bits == 1:
        return planes[:, 0].astype(np.int8) * 2 - 1
    unsigned = np.packbits(planes, axis=1, bitorder="little")[:, 0]
    return (unsigned.astype(np.int16) - 2 ** (bits - 1)).astype(np.int8)
