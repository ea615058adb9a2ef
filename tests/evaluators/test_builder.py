"""Candidates of an evaluator: surgery with moments and recovery, on a trained network."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from evaluated_models import (
    GATE_IMAGES,
    N_SEARCH,
    chosen,
    digits_blueprint,
    digits_network,
    few_digits,
)

from spikefront.evaluators.accuracy import accuracy
from spikefront.evaluators.blueprint import Blueprint
from spikefront.evaluators.data import Preprocessing
from spikefront.evaluators.evaluation import Request
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.evaluators.packing import pack_member
from spikefront.spaces import Candidate, SurgeryOptions
from spikefront.svtmodels.packed.reader import load_packed

PREPROCESSING = Preprocessing.preset("digits")


@cache
def blueprint(recovery_images: int) -> Blueprint:
    settings = EvaluationSettings(
        batch_size=20,
        gate_images=GATE_IMAGES,
        surgery=SurgeryOptions(recovery_images=recovery_images),
    )
    return Blueprint.prepare(digits_network(), few_digits(), PREPROCESSING, settings)


def test_each_step_is_better_than_the_one_before() -> None:
    candidate = chosen(digits_network(), weight=2)
    found = [
        accuracy(each.builder().build(candidate), few_digits().search, PREPROCESSING)
        for each in (digits_blueprint(), blueprint(0), blueprint(8))
    ]
    magnitude, second_order, recovered = found
    assert magnitude + 0.2 < second_order < recovered


def test_the_same_candidate_is_the_same_whatever_came_before() -> None:
    candidate = chosen(digits_network(), weight=3, channel=0.5)
    fresh = blueprint(8).builder().build(candidate).state_dict()
    used = blueprint(8).builder()
    for weight in (2, 4):
        used.build(chosen(digits_network(), weight=weight, channel=0.25))
    again = used.build(candidate).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in fresh.items())


def test_nothing_chosen_stays_the_trained_network() -> None:
    builder = blueprint(8).builder()
    state = digits_network().state_dict()
    same = builder.build(Candidate()).state_dict()
    assert all(torch.equal(same[name], tensor) for name, tensor in state.items() if name in same)
    assert builder.images_for(Candidate()) == 0


def test_images_of_recovery_count() -> None:
    candidate = chosen(digits_network(), weight=4)
    found = blueprint(8).build()(Request(candidate))
    assert found.image_evaluations == 8 + GATE_IMAGES + N_SEARCH


def test_recovery_is_an_axis() -> None:
    network, builder = digits_network(), blueprint(8).builder()
    plain = chosen(network, weight=4)
    off = chosen(network, weight=4, recovery=0)
    assert off.key != plain.key
    assert (builder.images_for(plain), builder.images_for(off)) == (8, 0)
    unrecovered = blueprint(0).builder().build(plain).state_dict()
    assert all(torch.equal(builder.build(off).state_dict()[n], t) for n, t in unrecovered.items())
    # There is nothing to recover from.
    assert builder.images_for(chosen(network, recovery=0)) == 0


def test_fewer_steps_need_other_thresholds() -> None:
    """The published networks collapse at one step; matched firing rates keep them alive."""
    candidate = chosen(digits_network(), time=1)
    found = {}
    for method in ("spread", "rates", "spread-rates"):
        options = SurgeryOptions(recovery=method)
        settings = EvaluationSettings(batch_size=20, gate_images=GATE_IMAGES, surgery=options)
        prepared = Blueprint.prepare(digits_network(), few_digits(), PREPROCESSING, settings)
        small = prepared.builder().build(candidate)
        found[method] = accuracy(small, few_digits().search, PREPROCESSING)
    assert min(found["rates"], found["spread-rates"]) > found["spread"] + 0.1


def test_the_packed_network_is_the_evaluated_one(tmp_path: Path) -> None:
    candidate = chosen(digits_network(), weight=3, channel=0.5)
    pack_member(blueprint(8), candidate, tmp_path / "member", {})
    packed = load_packed(tmp_path / "member")
    images = PREPROCESSING.apply(few_digits().search.images[:10])
    assert torch.equal(packed(images), blueprint(8).builder().build(candidate)(images))
