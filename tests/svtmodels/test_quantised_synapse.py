"""Quantised synapses: exact integer sums, one affine, and how weights become integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikefront.svtmodels.parts.synapse import QuantisedSynapse
from spikefront.svtmodels.surgery.bits import quantise

each_width = pytest.mark.parametrize("bits", range(2, 9))
untimed = settings(deadline=None, max_examples=30)


def _synapse(
    shape: tuple[int, ...],
    *,
    bits: int = 8,
    grid: int = 1,
    max_input: int = 6,
    seed: int = 0,
    largest: bool = False,
) -> QuantisedSynapse:
    generator = torch.Generator().manual_seed(seed)
    limit = 2 ** (bits - 1) - 1
    codes = torch.randint(-limit, limit + 1, shape, generator=generator, dtype=torch.int8)
    return QuantisedSynapse(
        codes.fill_(limit) if largest else codes,
        torch.rand(shape[0], generator=generator) * 0.01,
        torch.randn(shape[0], generator=generator),
        bits=bits,
        grid=grid,
        padding=1 if len(shape) == 4 else None,
        max_input=max_input,
    )


def _integers(*shape: int, low: int, high: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high + 1, shape, generator=generator).float()


def _expected(synapse: QuantisedSynapse, x: Tensor) -> np.ndarray:
    """The arithmetic contract in numpy: int64 sum, float32 product, float32 sum."""
    codes = synapse.codes.numpy().astype(np.int64)
    inputs = x.numpy().astype(np.int64)
    if synapse.padding is None:
        acc = inputs @ codes.reshape(len(codes), -1).T
    else:
        acc = _convolved(inputs, codes)
    scaled = acc.astype(np.float32) * synapse.scale.numpy()
    return scaled + synapse.bias.numpy()


def _convolved(maps: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """3x3 convolution, padding 1, of maps [..., H, W, C] by codes [O, C, 3, 3]."""
    height, width = maps.shape[-3:-1]
    padded = np.pad(maps, [(0, 0)] * (maps.ndim - 3) + [(1, 1), (1, 1), (0, 0)])
    acc = np.zeros((*maps.shape[:-1], len(codes)), np.int64)
    for i in range(3):
        for j in range(3):
            acc += padded[..., i : i + height, j : j + width, :] @ codes[:, :, i, j].T
    return acc


@each_width
def test_pointwise_sums_are_exact(bits):
    synapse = _synapse((33, 200), bits=bits)
    x = _integers(4, 2, 17, 200, low=0, high=6)
    assert synapse.exact_in_float32
    np.testing.assert_array_equal(synapse(x).numpy(), _expected(synapse, x))


@each_width
def test_convolution_sums_are_exact(bits):
    synapse = _synapse((20, 24, 3, 3), bits=bits)
    x = _integers(4, 2, 9, 8, 24, low=0, high=6)
    assert synapse.exact_in_float32
    np.testing.assert_array_equal(synapse(x).numpy(), _expected(synapse, x))


@pytest.mark.parametrize("shape", [(3, 3000), (2, 400, 3, 3)])
def test_sums_beyond_float32_are_exact_in_float64(shape):
    synapse = _synapse(shape, max_input=4096, largest=True)
    assert not synapse.exact_in_float32
    size = (2, shape[1]) if len(shape) == 2 else (2, 5, 5, shape[1])
    x = _integers(*size, low=4001, high=4096)
    acc = _expected(synapse, x)
    # Sums of this size are above 2^24: float32 addition alone would round on the way.
    assert np.abs((acc - synapse.bias.numpy()) / synapse.scale.numpy()).max() > 2**24
    got = synapse(x)
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got.numpy(), acc)


def test_bound_is_the_largest_row_times_the_largest_input():
    def exact(largest_input: int) -> bool:
        codes = torch.tensor([[1, -2, 1], [100, -27, 1]], dtype=torch.int8)
        one = torch.ones(2)
        return QuantisedSynapse(
            codes, one, one, bits=8, grid=1, padding=None, max_input=largest_input
        ).exact_in_float32

    # The largest row sums to 128 = 2^7.
    assert exact(2**17 - 1)
    assert not exact(2**17)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_real_inputs_are_rounded_to_the_grid_and_bounded(dtype):
    codes = torch.eye(2, dtype=torch.int8)
    synapse = QuantisedSynapse(
        codes,
        torch.full((2,), 1 / 512),
        torch.zeros(2),
        bits=2,
        grid=512,
        padding=None,
        max_input=4096,
    ).to(dtype)
    # Two and a half steps round to even; 9 and -100 lie beyond 8.
    x = torch.tensor([[0.25, 2.5 / 512], [0.1, -0.1], [9.0, -100.0]], dtype=dtype)
    expected = torch.tensor([[128, 2], [51, -51], [4096, -4096]], dtype=dtype) / 512
    assert torch.equal(synapse(x), expected)


def test_rounded_inputs_give_exact_sums():
    synapse = _synapse((16, 3, 3, 3), grid=512, max_input=4096)
    assert synapse.exact_in_float32
    x = torch.randn(2, 12, 12, 3, generator=torch.Generator().manual_seed(2)) * 1.5
    rounded = (x * 512).round().clamp(-4096, 4096)
    np.testing.assert_array_equal(synapse(x).numpy(), _expected(synapse, rounded))


def test_gradients_pass_the_rounding():
    synapse = _synapse((4, 6), grid=64, max_input=512)
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(2)).requires_grad_()
    y = synapse(x)
    with torch.no_grad():
        assert torch.equal(y, synapse(x))
    y.sum().backward()
    row = (synapse.codes.float() * synapse.scale[:, None] * 64).sum(0)
    assert x.grad is not None
    assert torch.allclose(x.grad, row.expand(3, 6), rtol=1e-5)


def test_only_codes_scale_and_bias_are_stored():
    synapse = _synapse((4, 6))
    assert set(synapse.state_dict()) == {"codes", "scale", "bias"}
    assert list(synapse.parameters()) == []
    assert synapse.double().codes.dtype == torch.int8


class TestQuantise:
    """Weights to integers."""

    @untimed
    @given(st.integers(2, 8), st.integers(1, 12), st.integers(1, 30), st.integers(0, 10**6))
    def test_codes_are_symmetric_and_as_near_as_plain_rounding(self, bits, rows, columns, seed):
        weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
        codes, scale = quantise(weight, bits)
        limit = 2 ** (bits - 1) - 1
        assert codes.dtype == torch.int8
        assert codes.shape == weight.shape and scale.shape == (rows,)
        assert codes.abs().max() <= limit
        assert (scale > 0).all()
        plain = weight.abs().amax(1, keepdim=True) / limit
        error = (codes * scale[:, None] - weight).square().sum(1)
        worst = ((weight / plain).round() * plain - weight).square().sum(1)
        assert (error <= worst * (1 + 1e-5)).all()

    @untimed
    @given(st.integers(2, 8), st.integers(0, 10**6))
    def test_every_code_is_the_nearest_one(self, bits, seed):
        weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
        codes, scale = quantise(weight, bits)
        limit = 2 ** (bits - 1) - 1
        levels = torch.arange(-limit, limit + 1)
        distance = (weight.flatten(1)[..., None] - levels * scale[:, None, None]).abs()
        chosen = (weight.flatten(1) - codes.flatten(1) * scale[:, None]).abs()
        assert (chosen <= distance.amin(-1) + 1e-6).all()

    @each_width
    def test_weights_on_a_grid_come_back_exactly(self, bits):
        limit = 2 ** (bits - 1) - 1
        wanted = torch.arange(-limit, limit + 1, dtype=torch.int8).repeat(3, 1)
        steps = torch.tensor([0.25, 1.0, 8.0])
        codes, scale = quantise(wanted * steps[:, None], bits)
        assert torch.equal(codes, wanted)
        assert torch.equal(scale, steps)

    @each_width
    def test_error_falls_with_every_bit(self, bits):
        weight = torch.randn(8, 300, generator=torch.Generator().manual_seed(0))

        def error(bits: int) -> float:
            codes, scale = quantise(weight, bits)
            return float((codes * scale[:, None] - weight).square().mean())

        assert error(bits) < float(weight.square().mean())
        assert bits == 8 or error(bits + 1) < error(bits)

    def test_a_row_of_zeros_gives_zeros(self):
        weight = torch.tensor([[0.0, 0.0], [1.0, -0.5]])
        codes, scale = quantise(weight, 4)
        assert codes[0].tolist() == [0, 0]
        assert torch.isfinite(scale).all()

    def test_rows_do_not_see_each_other(self):
        weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
        codes, scale = quantise(weight, 3)
        for row in range(6):
            alone = quantise(weight[row : row + 1], 3)
            assert torch.equal(alone[0][0], codes[row])
            assert torch.allclose(alone[1][0], scale[row], rtol=1e-6)
