"""The step of integer weights: every rule against a plain search, and one bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from spikefront.svtmodels.surgery.bits import quantise
from spikefront.svtmodels.surgery.scales import PERCENTILE, ScaleRule, find_scales, nearest_codes

each_width = pytest.mark.parametrize("bits", range(2, 9))


def _weights(rows: int = 5, columns: int = 40, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).double()


def _importance(columns: int = 40) -> Tensor:
    return torch.rand(columns, generator=torch.Generator().manual_seed(1)).double() ** 4


def _plain(row: Tensor, bits: int, weighing: Tensor) -> tuple[float, float]:
    """Best scale of a row among the clipping points, one after the other, and its error."""
    limit, best = 2 ** (bits - 1) - 1, (np.inf, 0.0)
    for percent in range(100, 28, -4):
        scale = float(row.abs().max()) * percent / 100 / limit
        codes = [max(-limit, min(limit, round(float(w) / scale))) for w in row]
        errors = [
            float(h) * (c * scale - float(w)) ** 2
            for c, w, h in zip(codes, row, weighing, strict=True)
        ]
        best = min(best, (sum(errors), scale))
    return best[1], best[0]


@each_width
@pytest.mark.parametrize("name", ["mse", "importance"])
def test_the_smallest_error_decides(bits: int, name: str):
    weight = _weights()
    weighing = _importance() if name == "importance" else torch.ones(40).double()
    found = find_scales(weight, bits, ScaleRule(name), weighing)
    expected = [_plain(row, bits, weighing)[0] for row in weight]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


@each_width
@pytest.mark.parametrize("name", ["mse", "importance"])
def test_one_step_of_a_tensor_is_that_of_a_single_long_row(bits: int, name: str):
    weight = _weights()
    weighing = _importance() if name == "importance" else torch.ones(40).double()
    found = find_scales(weight, bits, ScaleRule(name, per_tensor=True), weighing)
    expected, _ = _plain(weight.flatten(), bits, weighing.repeat(len(weight)))
    np.testing.assert_allclose(found.numpy(), np.full(5, expected), rtol=1e-9)


@each_width
def test_max_clips_nothing(bits: int):
    weight, limit = _weights(), 2 ** (bits - 1) - 1
    found = find_scales(weight, bits, ScaleRule("max"), torch.ones(40))
    assert torch.equal(found, weight.abs().amax(1) / limit)
    whole = find_scales(weight, bits, ScaleRule("max", per_tensor=True), torch.ones(40))
    assert torch.equal(whole, (weight.abs().max() / limit).expand(5))


@pytest.mark.parametrize("columns", [1, 7, 999, 5000])
def test_percentile_is_that_of_numpy(columns: int):
    weight = _weights(3, columns)
    found = find_scales(weight, 4, ScaleRule("percentile"), torch.ones(columns))
    expected = np.quantile(weight.abs().numpy(), PERCENTILE, axis=1) / 7
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    whole = find_scales(weight, 4, ScaleRule("percentile", per_tensor=True), torch.ones(columns))
    expected = np.quantile(weight.abs().numpy(), PERCENTILE) / 7
    np.testing.assert_allclose(whole.numpy(), np.full(3, expected), rtol=1e-12)


def test_percentile_does_not_see_what_was_pruned():
    weight = _weights(4, 3000)
    kept = torch.rand(4, 3000, generator=torch.Generator().manual_seed(2)) < 0.1
    found = find_scales(weight * kept, 4, ScaleRule("percentile"), torch.ones(3000), kept)
    expected = [
        np.quantile(row[mask].abs().numpy(), PERCENTILE) / 7
        for row, mask in zip(weight, kept, strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


class TestOneBit:
    """Signs times the mean magnitude."""

    def test_signs_times_the_mean_magnitude_of_each_row(self):
        weight = _weights()
        weight[2, 3] = 0
        codes, scale = quantise(weight, 1)
        assert codes.dtype == torch.int8
        assert torch.equal(codes, torch.where(weight >= 0, 1, -1).to(torch.int8))
        assert torch.allclose(scale, weight.abs().mean(1))

    def test_importance_weighs_the_mean(self):
        weight, weighing = _weights(), _importance()
        _, scale = quantise(weight, 1, None, weighing, ScaleRule("importance"))
        expected = (weight.abs() * weighing).sum(1) / weighing.sum()
        assert torch.allclose(scale, expected)
        # It is where the weighed error is smallest.
        signs = weight.sign()
        errors = [
            ((signs * (scale * f)[:, None] - weight).square() * weighing).sum(1)
            for f in (0.99, 1.0, 1.01)
        ]
        assert (errors[1] < errors[0]).all() and (errors[1] < errors[2]).all()

    def test_one_mean_for_a_tensor(self):
        weight = _weights()
        _, scale = quantise(weight, 1, rule=ScaleRule("mse", per_tensor=True))
        assert torch.allclose(scale, weight.abs().mean().expand(5))

    def test_pruned_numbers_count_neither_in_codes_nor_in_the_mean(self):
        weight = _weights()
        kept = torch.rand(5, 40, generator=torch.Generator().manual_seed(2)) < 0.3
        kept[1] = False
        codes, scale = quantise(weight * kept, 1, kept=kept)
        assert torch.equal(codes != 0, kept)
        rows = zip(weight, kept, strict=True)
        expected = [float(w[m].abs().mean()) if m.any() else 0.0 for w, m in rows]
        np.testing.assert_allclose(scale.numpy(), expected)

    def test_compensation_lowers_the_error_on_correlated_inputs(self):
        weight = _weights(8, 64)
        generator = torch.Generator().manual_seed(3)
        mixing = torch.randn(64, 12, generator=generator).double()
        products = mixing @ mixing.T / 12 + 0.05 * torch.eye(64)

        def error(codes: Tensor, scale: Tensor) -> float:
            off = codes * scale[:, None] - weight
            return float(((off @ products) * off).sum())

        plain = error(*quantise(weight, 1))
        assert error(*quantise(weight, 1, products)) < 0.5 * plain

    def test_inputs_that_never_fire_leave_the_plain_mean(self):
        weight = _weights()
        _, scale = quantise(weight, 1, None, torch.zeros(40), ScaleRule("importance"))
        assert torch.allclose(scale, weight.abs().mean(1))


def test_nearest_codes_are_bounded():
    values = torch.tensor([[-9.0, -0.5, 0.5, 1.5, 9.0]])
    assert nearest_codes(values, torch.ones(1, 1), 3).tolist() == [[-3, 0, 0, 2, 3]]
    assert nearest_codes(values, torch.ones(1, 1), 1).tolist() == [[-1, -1, 1, 1, 1]]
