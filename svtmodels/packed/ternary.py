"""Codes -1, 0 and 1 as a byte stream, five to a byte: digits of a number in base 3.

Code i of a tensor lies in byte ``i // 5`` as its digit ``i % 5``, so any code is found without
reading those before it. A byte holds five because 3^5 = 243 of its 256 values are enough: 1.6 bits
per code, where no code can take less than log2(3) = 1.585.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .layout import CODES_PER_BYTE

_PLACES = tuple(3**place for place in range(CODES_PER_BYTE))
_LARGEST = 3**CODES_PER_BYTE - 1
_BYTES = np.arange(256, dtype=np.int16)[:, None]
_CODES = (_BYTES // np.array(_PLACES) % 3 - 1).astype(np.int8)
"""Codes [256, 5] that a byte stands for; rows above 242 are never read."""


def pack_trits(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Bytes that hold the codes: ``sum((code + 1) * 3^place)`` over five codes each.

    The digits that fill up the last byte are zeros.

    Raises:
        ValueError: a code is none of -1, 0 and 1.
    """
    digits = np.zeros(-(-codes.size // CODES_PER_BYTE) * CODES_PER_BYTE, np.uint8)
    digits[: codes.size] = codes.reshape(-1) + 1
    if digits.max(initial=0) > 2:
        raise ValueError("codes of two bits are -1, 0 and 1; these are not")
    rows = digits.reshape(-1, CODES_PER_BYTE)
    packed = np.zeros(len(rows), np.uint8)
    for place, worth in enumerate(_PLACES):
        packed += rows[:, place] * np.uint8(worth)
    return packed


def unpack_trits(stream: NDArray[np.uint8], count: int) -> NDArray[np.int8]:
    """The first `count` codes of a stream, behind which only zeros may follow.

    Raises:
        ValueError: a byte is above 242, a digit behind the last code is not zero, or there are
            fewer codes.
    """
    if stream.max(initial=0) > _LARGEST:
        raise ValueError(f"a byte of five codes is {stream.max()}; the largest is {_LARGEST}")
    codes = _CODES.take(stream, axis=0).reshape(-1)
    if len(codes) < count:
        raise ValueError(f"{len(stream)} bytes hold no {count} codes")
    if np.any(codes[count:] != -1):
        raise ValueError(f"digits behind the last of {count} codes are not zero")
    return codes[:count]
