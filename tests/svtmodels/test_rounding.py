"""Rounding by what a synapse gives: each refinement falls, and ends where no code can do better."""

import pytest
import torch
from torch import Tensor

from spikefront.svtmodels.surgery.bits import quantise
from spikefront.svtmodels.surgery.least_squares import damped
from spikefront.svtmodels.surgery.rounding import compensated, refined
from spikefront.svtmodels.surgery.scales import ScaleRule, find_scales, largest_code

INPUTS, OUTPUTS = 70, 6
each_bits = pytest.mark.parametrize("bits", [1, 2, 3, 5])


def problem(seed: int) -> tuple[Tensor, Tensor]:
    """Weights, and moments of correlated inputs."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(OUTPUTS, INPUTS, generator=generator, dtype=torch.float64)
    mixed = torch.randn(INPUTS, INPUTS, generator=generator, dtype=torch.float64)
    inputs = torch.randn(400, INPUTS, generator=generator, dtype=torch.float64) @ mixed
    return weight, inputs.T @ inputs / len(inputs)


def scales(weight: Tensor, bits: int) -> Tensor:
    return find_scales(weight, bits, ScaleRule("mse"), torch.ones(weight.shape[1]))


def losses(weight: Tensor, codes: Tensor, steps: Tensor, products: Tensor) -> Tensor:
    left = weight - codes * steps[:, None]
    return torch.einsum("oi,ij,oj->o", left, damped(products), left)


@each_bits
def test_refined_rows_lose_less_than_compensated_ones(bits: int) -> None:
    weight, products = problem(bits)
    given = scales(weight, bits)
    before = losses(weight, compensated(weight, given, bits, products), given, products)
    after = losses(weight, *refined(weight, given, bits, products), products)
    assert (after <= before * (1 + 1e-9)).all()
    assert after.sum() < 0.98 * before.sum()


@each_bits
def test_with_fixed_steps_only_codes_are_refined(bits: int) -> None:
    weight, products = problem(20 + bits)
    given = scales(weight, bits)
    codes, steps = refined(weight, given, bits, products, fixed=True)
    assert torch.equal(steps, given)
    before = losses(weight, compensated(weight, given, bits, products), given, products)
    assert losses(weight, codes, steps, products).sum() < before.sum()


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_no_other_value_of_a_code_loses_less(bits: int) -> None:
    weight, products = problem(30 + bits)
    few, moments = weight[:, :12], products[:12, :12]
    codes, steps = refined(few, scales(weight, bits), bits, moments, sweeps=50)
    found = losses(few, codes, steps, moments)
    allowed = [-1, 1] if bits == 1 else range(-largest_code(bits), largest_code(bits) + 1)
    for column in range(12):
        for value in allowed:
            other = codes.clone()
            other[:, column] = value
            lost = losses(few, other, steps, moments)
            assert (lost >= found * (1 - 1e-9)).all()


def test_steps_fit_their_codes_best() -> None:
    weight, products = problem(40)
    few, moments = weight[:, :12], products[:12, :12]
    codes, steps = refined(few, scales(weight, 2), 2, moments, sweeps=50)
    found = losses(few, codes, steps, moments)
    for factor in (0.99, 1.01):
        assert (losses(few, codes, steps * factor, moments) > found).all()


def test_pruned_numbers_stay_zero_and_the_others_make_up_for_them() -> None:
    weight, products = problem(50)
    kept = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    given = scales(weight * kept, 3)
    codes, steps = refined(weight * kept, given, 3, products, kept)
    assert not codes[~kept].any()
    plain = compensated(weight * kept, given, 3, products, kept)
    before = losses(weight * kept, plain, given, products).sum()
    assert losses(weight * kept, codes, steps, products).sum() < before


def test_rows_do_not_depend_on_each_other() -> None:
    weight, products = problem(60)
    codes, steps = quantise(weight, 2, products)
    alone, step = quantise(weight[2:3], 2, products)
    assert torch.equal(codes[2:3], alone)
    assert torch.allclose(steps[2:3], step, rtol=1e-12)


@pytest.mark.parametrize("rule", [ScaleRule("max"), ScaleRule("mse", per_tensor=True)])
def test_rules_that_fix_the_step_keep_it(rule: ScaleRule) -> None:
    weight, products = problem(70)
    _, steps = quantise(weight, 3, products, rule=rule)
    assert torch.equal(steps, quantise(weight, 3, rule=rule)[1])


@each_bits
def test_moments_that_are_noise_leave_finite_codes(bits: int) -> None:
    x = torch.linspace(0.1, 3, 24)
    noise = (torch.outer(x, x) - torch.outer(x.double(), x.double())).double()
    weight = torch.randn(3, 24, generator=torch.Generator().manual_seed(0))
    codes, steps = quantise(weight, bits, noise)
    assert steps.isfinite().all()
    assert int(codes.abs().max()) <= largest_code(bits)
