"""The numbers of a training: what is allowed, and the learning rate that follows from them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from spikefront.evaluators.training import Recipe
from spikefront.spaces import BadInput


def test_the_round_trip_and_the_defaults() -> None:
    assert Recipe.from_dict({}) == Recipe()
    recipe = Recipe(epochs=7, flip=True, learning_rate=0.5)
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_whole_numbers_may_stand_for_fractions() -> None:
    recipe = Recipe.from_dict({"learning_rate": 1, "warmup_epochs": 2})
    assert (recipe.learning_rate, recipe.warmup_epochs) == (1.0, 2.0)
    assert type(recipe.learning_rate) is float


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"learning_rat": 1.0}, "'learning_rat'. Did you mean 'learning_rate'?"),
        ({5: 1.0}, "unknown recipe field '5'"),
        ({"epochs": 2.5}, "recipe.epochs is 2.5; give int"),
        ({"epochs": "3"}, "recipe.epochs is '3'; give int"),
        ({"epochs": True}, "recipe.epochs is True; give int"),
        ({"learning_rate": "1e-3"}, "recipe.learning_rate is '1e-3'; give float"),
        ({"learning_rate": None}, "recipe.learning_rate is None; give float"),
        ({"flip": 1}, "recipe.flip is 1; give bool"),
        ({"epochs": 0}, "recipe.epochs is 0; it must be above 0"),
        ({"batch_size": -1}, "recipe.batch_size is -1; it must be above 0"),
        ({"learning_rate": math.nan}, "recipe.learning_rate is nan; it must be above 0"),
        ({"learning_rate": math.inf}, "recipe.learning_rate is inf"),
        ({"clip_norm": 0}, "recipe.clip_norm is 0.0; it must be above 0"),
        ({"crop_padding": -1}, "recipe.crop_padding is -1; give 0 or more"),
        ({"weight_decay": -0.1}, "recipe.weight_decay is -0.1; give 0 or more"),
        ({"warmup_epochs": math.nan}, "recipe.warmup_epochs is nan; give 0 or more"),
        ({"final_learning_rate": -1e-5}, "recipe.final_learning_rate is -1e-05; give 0 or more"),
        ({"label_smoothing": 1.0}, "recipe.label_smoothing is 1.0; give 0 <= x < 1"),
        ({"label_smoothing": -0.1}, "recipe.label_smoothing is -0.1"),
        ({"averaging": 1.0}, "recipe.averaging is 1.0; give 0 <= x < 1"),
        ({"mixup": -1.0}, "recipe.mixup is -1.0; give 0 or more"),
        ({"policy_magnitude": 11}, "recipe.policy_magnitude is 11.0; give 0 to 10"),
        ({"precision": "float16"}, "unknown recipe.precision 'float16'"),
        ({"loss": "tett"}, "unknown recipe.loss 'tett'. Did you mean 'tet'?"),
        ({"loss": 1}, "recipe.loss is 1; give str"),
    ],
)
def test_wrong_fields_are_refused(field: dict[Any, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        Recipe.from_dict(field)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        (0, 0.0),
        (0.5, 0.25),
        (1.5, 0.75),
        (2, 1.0),  # the peak
        (4, 0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2),
        (6, 0.55),  # half way down
        (10, 0.1),
        (12, 0.1),  # never below
    ],
)
def test_learning_rates_by_hand(epoch: float, rate: float) -> None:
    recipe = Recipe(epochs=10, warmup_epochs=2.0, learning_rate=1.0, final_learning_rate=0.1)
    assert recipe.learning_rate_at(epoch) == pytest.approx(rate)


def test_without_warm_up_it_starts_at_the_peak() -> None:
    recipe = Recipe(epochs=4, warmup_epochs=0.0, learning_rate=0.5, final_learning_rate=0.0)
    rates = [recipe.learning_rate_at(epoch) for epoch in range(5)]
    assert rates[0] == 0.5
    assert rates == sorted(rates, reverse=True)
    assert rates[2] == pytest.approx(0.25)
    assert rates[4] == pytest.approx(0.0)


def test_a_training_shorter_than_its_warm_up_only_rises() -> None:
    recipe = Recipe(epochs=2, warmup_epochs=4.0, learning_rate=1.0)
    assert [recipe.learning_rate_at(e) for e in (0, 1, 2)] == [0.0, 0.25, 0.5]


def test_images_are_mixed_until_an_epoch() -> None:
    assert not Recipe().mixes_in(0)
    assert Recipe(mixup=0.5).mixes_in(10_000)
    mixed = [Recipe(mixup=0.5, mixup_epochs=2).mixes_in(epoch) for epoch in range(4)]
    assert mixed == [True, True, False, False]
