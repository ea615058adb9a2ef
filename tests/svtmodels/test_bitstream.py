"""Integers of 3..8 bits as a stream of bytes, and sizes in the file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefront.svtmodels.packed.bitstream import pack_bits, unpack_bits
from spikefront.svtmodels.packed.layout import (
    code_bytes,
    float_bytes,
    mean_bits,
    neuron_bytes,
    padded,
)
from spikefront.svtmodels.packed.ternary import pack_trits

untimed = settings(deadline=None)


@st.composite
def streams(draw: st.DrawFn) -> tuple[int, np.ndarray]:
    bits = draw(st.integers(3, 8))
    half = 2 ** (bits - 1)
    codes = draw(st.lists(st.integers(-half, half - 1), max_size=70))
    return bits, np.array(codes, np.int8)


@untimed
@given(streams())
def test_stream_is_one_long_little_endian_number(stream):
    bits, codes = stream
    number = sum((int(c) + 2 ** (bits - 1)) << (bits * i) for i, c in enumerate(codes))
    packed = pack_bits(codes, bits)
    assert packed.dtype == np.uint8
    assert packed.tobytes() == number.to_bytes(-(-len(codes) * bits // 8), "little")


@untimed
@given(streams(), st.binary(max_size=64))
def test_codes_come_back_whatever_follows(stream, padding):
    bits, codes = stream
    followed = np.concatenate([pack_bits(codes, bits), np.frombuffer(padding, np.uint8)])
    back = unpack_bits(followed, bits, len(codes))
    assert back.dtype == np.int8
    np.testing.assert_array_equal(back, codes)


@pytest.mark.parametrize(
    ("bits", "codes", "expected"),
    [
        (3, [-3, 0, 3], [0b11_100_001, 0b1]),
        (4, [-7, 7, 0], [0b1111_0001, 0b1000]),
        (5, [-16, 15], [0b111_00000, 0b11]),
        (6, [31, -31], [0b01_111111, 0b0000]),
        (7, [0, 63], [0b1_1000000, 0b111111]),
        (8, [-127, 0, 127], [1, 128, 255]),
    ],
)
def test_exact_bytes(bits, codes, expected):
    assert pack_bits(np.array(codes, np.int8), bits).tolist() == expected


def test_shape_is_read_in_c_order():
    codes = np.arange(-4, 4, dtype=np.int8).reshape(2, 2, 2)
    assert pack_bits(codes, 4).tolist() == pack_bits(codes.reshape(-1), 4).tolist()


@pytest.mark.parametrize(
    ("count", "bits", "size"),
    [
        (1, 2, 64),
        (170, 3, 64),
        (171, 3, 128),
        (320, 2, 64),  # Five of two bits share a byte.
        (321, 2, 128),
        (64, 8, 64),
        (65, 8, 128),
    ],
)
def test_bytes_in_the_file_are_whole_and_aligned(count, bits, size):
    assert code_bytes(count, bits) == size
    codes = np.zeros(count, np.int8)
    packed = pack_trits(codes) if bits == 2 else pack_bits(codes, bits)
    assert padded(len(packed)) == size


def test_mean_bits_are_those_of_a_large_weight():
    for bits in (*range(1, 9), 16, 32):
        assert code_bytes(64 * 1000, bits) == 8000 * mean_bits(bits)


def test_floats_take_four_bytes_each():
    assert [padded(n) for n in (0, 1, 64, 65)] == [0, 64, 64, 128]
    assert [float_bytes(n) for n in (1, 16, 17)] == [64, 64, 128]
    assert [neuron_bytes(n) for n in (8, 9)] == [64, 128]
