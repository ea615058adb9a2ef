from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefront.evaluators.compact import from_text, to_text
from spikefront.evaluators.evaluation import Gate
from spikefront.evaluators.image_order import ImageOrder, draw_images
from spikefront.spaces import BadInput

RIGHT = np.ones(5, np.bool_)


@given(st.data(), st.sampled_from([1, 2, 4]))
def test_small_numbers_survive_as_text(data: st.DataObject, bits: int) -> None:
    values = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=50))
    text = to_text(values, bits)
    assert from_text(text, bits, len(values)).tolist() == values
    assert len(text) <= len(values) * bits / 6 + 4


def test_text_of_another_length_or_alphabet_is_refused() -> None:
    with pytest.raises(BadInput, match="got 2 bytes"):
        from_text(to_text([1, 2, 3], 4), 4, 5)
    with pytest.raises(BadInput, match="not base64"):
        from_text("?", 4, 1)


def test_weights_are_kept_within_half_a_level_and_none_is_out_of_reach() -> None:
    given_ = np.geomspace(1, 40, 31)
    got = ImageOrder.of(8, 0, given_).weights(31)
    ratios = got / got[-1] / (given_ / given_[-1])
    assert ratios.max() / ratios.min() <= 1.3 * 1.0001
    wide = ImageOrder.of(8, 0, [1e-9, 1.0]).weights(2)
    assert wide[1] / wide[0] == pytest.approx(1.3**15)
    np.testing.assert_array_equal(ImageOrder().weights(3), np.ones(3))


def test_an_order_of_other_images_is_refused() -> None:
    order = ImageOrder.of(8, 0, np.ones(20))
    with pytest.raises(BadInput, match="as many images"):
        draw_images(order, "key", RIGHT)


def test_a_draw_is_a_permutation_that_follows_from_seed_and_key() -> None:
    order = ImageOrder.of(8, 1, np.arange(1, 51))
    right = np.arange(50) % 7 > 0
    draw = draw_images(order, "a", right)
    assert sorted(draw.order.tolist()) == list(range(50))
    np.testing.assert_array_equal(draw.parent_right, right[draw.order])
    again = draw_images(ImageOrder(8, 1, order.levels), "a", right)
    np.testing.assert_array_equal(again.order, draw.order)
    np.testing.assert_array_equal(again.weights, draw.weights)
    for other in (
        draw_images(order, "b", right),
        draw_images(ImageOrder(8, 2, order.levels), "a", right),
    ):
        assert other.order.tolist() != draw.order.tolist()


def test_images_are_drawn_by_weight_among_those_left() -> None:
    """First and second place, against the probabilities of drawing one by one."""
    weights = np.array([1.0, 1.3, 1.3**4, 1.3**6, 1.3**8])
    runs = 6000
    counts = np.zeros((5, 5))
    for run in range(runs):
        first, second = draw_images(ImageOrder.of(8, 0, weights), f"{run}", RIGHT).order[:2]
        counts[first, second] += 1
    share = weights / weights.sum()
    expected = share[:, None] * share / (1 - share[:, None]) * (1 - np.eye(5))
    error = np.sqrt(expected * (1 - expected) / runs)
    assert (abs(counts / runs - expected) <= 4.5 * error).all()


@pytest.mark.parametrize(("wrong", "lift"), [(1, 4.0), (10, 0.5 / 0.1**0.5), (50, 1.0)])
def test_images_that_the_parent_has_wrong_weigh_more_the_fewer_they_are(
    wrong: int, lift: float
) -> None:
    right = np.arange(100) >= wrong
    draw = draw_images(ImageOrder(), "key", right)
    np.testing.assert_allclose(draw.weights[draw.parent_right], 1.0)
    np.testing.assert_allclose(draw.weights[~draw.parent_right], lift)
    heavy = ImageOrder.of(8, 0, np.where(right, 1.0, 50.0))
    learned = draw_images(heavy, "key", right)
    assert learned.weights[~learned.parent_right].min() >= heavy.weights(100).max()


@pytest.mark.parametrize(("images", "most"), [(2_000, 4_096), (10_000, 16_384), (80_000, 65_535)])
def test_a_gate_with_an_order_is_small(images: int, most: int) -> None:
    order = ImageOrder.of(2**20, 2**48 - 1, np.random.default_rng(0).lognormal(0, 1, images))
    rivals = tuple((10**9 + n, 0.123456789012345 + n / 1000) for n in range(64))
    gate = Gate(2**20, 0.123456789012345, rivals=rivals, order=order)
    text = json.dumps(asdict(gate))
    assert len(text) < most
    assert ImageOrder(**json.loads(text)["order"]) == order
