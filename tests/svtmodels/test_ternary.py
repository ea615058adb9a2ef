"""Codes of two bits: five to a byte, as digits of base 3."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefront.svtmodels.packed.ternary import pack_trits, unpack_trits

untimed = settings(deadline=None)
trits = st.lists(st.integers(-1, 1), max_size=70)


def codes_of(values: list[int]) -> np.ndarray:
    return np.array(values, np.int8)


@untimed
@given(trits)
def test_bytes_are_the_digits_of_five_codes_each(values: list[int]):
    expected = [
        sum((code + 1) * 3**place for place, code in enumerate(values[start : start + 5]))
        for start in range(0, len(values), 5)
    ]
    packed = pack_trits(codes_of(values))
    assert packed.dtype == np.uint8
    assert packed.tolist() == expected


@untimed
@given(trits, st.integers(0, 64))
def test_codes_come_back_whatever_zeros_follow(values: list[int], padding: int):
    stream = np.concatenate([pack_trits(codes_of(values)), np.zeros(padding, np.uint8)])
    back = unpack_trits(stream, len(values))
    assert back.dtype == np.int8
    assert back.tolist() == values


@untimed
@given(st.lists(st.integers(-1, 1), min_size=1, max_size=70), st.data())
def test_any_code_is_found_alone(values: list[int], data: st.DataObject):
    index = data.draw(st.integers(0, len(values) - 1))
    byte = int(pack_trits(codes_of(values))[index // 5])
    assert byte // 3 ** (index % 5) % 3 - 1 == values[index]


def test_every_five_codes_have_a_byte_of_their_own():
    every = list(itertools.product((-1, 0, 1), repeat=5))
    packed = pack_trits(codes_of([code for five in every for code in five]))
    assert sorted(packed.tolist()) == list(range(243))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([-1], [0]),
        ([1, 0, -1, 0, 1], [2 + 3 + 0 + 27 + 162]),
        ([1] * 6, [242, 2]),
        ([0] * 7, [121, 4]),
    ],
)
def test_exact_bytes(values: list[int], expected: list[int]):
    assert pack_trits(codes_of(values)).tolist() == expected


def test_shape_is_read_in_c_order():
    codes = codes_of([1, 0, -1, -1, 0, 1, 1, 1]).reshape(2, 2, 2)
    assert pack_trits(codes).tolist() == pack_trits(codes.reshape(-1)).tolist()


@pytest.mark.parametrize("code", [-128, -2, 2, 127])
def test_other_codes_are_refused(code: int):
    with pytest.raises(ValueError, match="-1, 0 and 1"):
        pack_trits(codes_of([0, code, 1]))


@pytest.mark.parametrize("byte", [243, 255])
@pytest.mark.parametrize("place", [0, 1])
def test_bytes_that_no_codes_make_are_refused(byte: int, place: int):
    stream = np.zeros(2, np.uint8)
    stream[place] = byte
    with pytest.raises(ValueError, match=f"is {byte}; the largest is 242"):
        unpack_trits(stream, 10)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 9])
def test_digits_behind_the_last_code_must_be_zero(count: int):
    stream = np.zeros(3, np.uint8)
    stream[count // 5] = 3 ** (count % 5)
    with pytest.raises(ValueError, match="not zero"):
        unpack_trits(stream, count)
    assert unpack_trits(stream, count + 1)[count] == 0


def test_too_few_bytes_are_refused():
    with pytest.raises(ValueError, match="no 11 codes"):
        unpack_trits(np.zeros(2, np.uint8), 11)
