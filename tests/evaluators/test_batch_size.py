"""The batch size costs memory and time; what a search finds does not depend on it."""

from __future__ import annotations

from functools import cache

import pytest
from evaluated_models import GATE_IMAGES, chosen, digits_network, few_digits

from spikefront.evaluators.blueprint import Blueprint
from spikefront.evaluators.data import Preprocessing
from spikefront.evaluators.evaluation import Evaluation, Gate, Request
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.spaces import Candidate

BITS = chosen(digits_network(), weight=4)
SMALL = chosen(digits_network(), weight=3, channel=0.75, token=0.75, time=2)
RIVAL = Gate(5, rivals=((1, 0.99),))
"""A front member that no candidate is as good as: it ends evaluations early."""


@cache
def prepared(batch_size: int) -> Blueprint:
    """Prepared anew from the network and the images, with the default surgery."""
    settings = EvaluationSettings(batch_size=batch_size, gate_images=GATE_IMAGES)
    preprocessing = Preprocessing.preset("digits")
    return Blueprint.prepare(digits_network(), few_digits(), preprocessing, settings)


def evaluated(batch_size: int, candidate: Candidate, gate: Gate) -> Evaluation:
    return prepared(batch_size).build()(Request(candidate, gate))


@pytest.mark.parametrize("gate", [Gate(), RIVAL], ids=["whole", "rival"])
@pytest.mark.parametrize("candidate", [BITS, SMALL], ids=["bits", "small"])
def test_quantised_candidates_measure_the_same_to_the_last_bit(
    candidate: Candidate, gate: Gate
) -> None:
    first, *others = (evaluated(size, candidate, gate) for size in (60, 20, 7))
    for other in others:
        assert other.measures == first.measures
        assert (other.state, other.stage) == (first.state, first.stage)
        assert other.rejection == first.rejection


def test_what_is_measured_of_the_trained_network_is_the_same() -> None:
    first, other = (prepared(size).fingerprints() for size in (60, 7))
    assert first.pop("settings") != other.pop("settings")
    assert first == other
