"""Small whole numbers as short text, for messages and records."""

from __future__ import annotations

import base64
import binascii

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..spaces.errors import BadInput


def to_text(values: ArrayLike, bits: int) -> str:
    """Base64 of whole numbers from 0 to ``2**bits - 1``, first one in the lowest bits.

    Args:
        values: [N].
        bits: of each number; 1, 2 or 4.
    """
    each = 8 // bits
    numbers = np.asarray(values, np.uint8)
    filled = np.pad(numbers, (0, -len(numbers) % each)).reshape(-1, each)
    packed = np.bitwise_or.reduce(filled << _shifts(bits), axis=1)
    return base64.b64encode(packed.astype(np.uint8).tobytes()).decode()


def from_text(text: str, bits: int, count: int) -> NDArray[np.uint8]:
    """The numbers that `to_text` was given, [count].

    Raises:
        BadInput: another number of numbers, or no base64.
    """
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except binascii.Error as error:
        raise BadInput(f"{count} numbers of {bits} bits: not base64 ({error}).") from None
    if len(packed) != -(-count * bits // 8):
        raise BadInput(
            f"{count} numbers of {bits} bits: got {len(packed)} bytes; give those of as many "
            "images as there are."
        )
    return ((packed[:, None] >> _shifts(bits)) & (2**bits - 1)).reshape(-1)[:count]


def _shifts(bits: int) -> NDArray[np.uint8]:
    return np.arange(0, 8, bits, dtype=np.uint8)
