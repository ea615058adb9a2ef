"""Second-order surgery against brute force."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spikefront.svtmodels.surgery.bits import quantise
from spikefront.svtmodels.surgery.least_squares import (
    damped,
    removal_order,
    resolved,
    rounding_factor,
)


def problem(inputs: int, outputs: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A weight [outputs, inputs] and second moments of correlated spikes."""
    generator = torch.Generator().manual_seed(seed)
    causes = torch.rand(400, inputs // 2, generator=generator, dtype=torch.float64)
    mixing = torch.rand(inputs // 2, inputs, generator=generator, dtype=torch.float64)
    spikes = (causes @ mixing > 0.25 * inputs // 2).double()
    weight = torch.randn(outputs, inputs, generator=generator, dtype=torch.float64)
    return weight, spikes.T @ spikes / len(spikes)


def loss(weight: Tensor, products: Tensor, kept: list[int]) -> float:
    """Smallest ``E |W x - W' x_kept|^2``, by the normal equations."""
    full = damped(products)
    solved = torch.linalg.solve(full[kept][:, kept], full[kept] @ weight.T).T
    error = weight.clone()
    error[:, kept] -= solved
    return float(torch.einsum("oi,ij,oj->", error, full, error))


@pytest.mark.parametrize("unit", [1, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_cheapest_group_leaves_next(unit: int, seed: int) -> None:
    weight, products = problem(8 * unit, seed=seed)
    order = removal_order(weight, products, unit, heads=1).tolist()
    left = list(range(8))
    for group in order[:-1]:
        rest = {
            g: loss(
                weight,
                products,
                [unit * k + i for k in left if k != g for i in range(unit)],
            )
            for g in left
        }
        assert group == min(rest, key=lambda g: rest[g])
        left.remove(group)
    assert sorted(order) == list(range(8))


def test_heads_lose_their_channels_in_turn() -> None:
    weight, products = problem(12)
    order = removal_order(weight, products, 1, heads=3).tolist()
    for first in range(0, 12, 3):
        assert sorted(channel // 4 for channel in order[first : first + 3]) == [0, 1, 2]


def test_what_stays_makes_up_for_what_leaves() -> None:
    weight, products = problem(10)
    kept = torch.tensor([0, 2, 3, 6, 7, 9])
    solved = resolved(weight, products, kept)
    error = weight.clone()
    error[:, kept] -= solved
    found = float(torch.einsum("oi,ij,oj->", error, damped(products), error))
    assert found == pytest.approx(loss(weight, products, kept.tolist()))
    error[:, kept] = 0
    sliced = float(torch.einsum("oi,ij,oj->", error, damped(products), error))
    assert found < 0.5 * sliced


def test_inputs_that_never_fire_leave_first_and_change_nothing() -> None:
    weight, products = problem(10)
    silent = [3, 8]
    products[silent] = 0
    products[:, silent] = 0
    assert set(removal_order(weight, products, 1, heads=1)[:2].tolist()) == set(silent)
    kept = torch.tensor([channel for channel in range(10) if channel not in silent])
    assert torch.allclose(resolved(weight, products, kept), weight[:, kept], rtol=0, atol=1e-12)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_rounding_makes_up_for_its_errors(bits: int) -> None:
    weight, products = problem(24, outputs=16)

    def error(codes: Tensor, scale: Tensor) -> float:
        left = weight - codes * scale[:, None]
        return float(torch.einsum("oi,ij,oj->", left, products, left))

    nearest, compensated = (
        quantise(weight, bits),
        quantise(weight, bits, products, products.diagonal()),
    )
    limit = 2 ** (bits - 1) - 1
    assert compensated[0].dtype == torch.int8
    assert int(compensated[0].abs().max()) <= limit
    assert error(*compensated) < 0.7 * error(*nearest)


def test_without_correlation_rounding_is_to_nearest() -> None:
    weight, _ = problem(24, outputs=16)
    codes, scale = quantise(weight, 4, torch.eye(24, dtype=torch.float64), refine=False)
    expected, steps = quantise(weight, 4)
    assert torch.equal(codes, expected)
    assert torch.equal(scale, steps)


@pytest.mark.parametrize("products", [torch.zeros(6, 6), torch.ones(6, 6)])
def test_degenerate_moments_give_finite_answers(products: Tensor) -> None:
    weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    assert sorted(removal_order(weight, products, 1, 1).tolist()) == list(range(6))
    assert resolved(weight, products, torch.tensor([1, 4])).isfinite().all()
    codes, scale = quantise(weight, 3, products, products.diagonal())
    assert scale.isfinite().all()
    assert int(codes.abs().max()) <= 3


def test_moments_that_are_rounding_noise_still_round() -> None:
    """The covariance of a single position is zero but for float32's rounding."""
    x = torch.linspace(0.1, 3, 24)
    noise = (torch.outer(x, x) - torch.outer(x.double(), x.double())).double()
    assert torch.linalg.eigvalsh(noise).min() < -noise.diagonal().abs().mean()
    order, factor = rounding_factor(noise)
    assert sorted(order.tolist()) == list(range(24))
    assert factor.isfinite().all()
