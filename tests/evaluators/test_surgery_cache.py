"""Prepared surgery is shared between evaluators of one trained network, and only of one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from evaluated_models import chosen, digits_network, few_digits

from spikefront.evaluators.blueprint import Blueprint
from spikefront.evaluators.data import Preprocessing
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.evaluators.surgery_cache import surgery_store
from spikefront.spaces import BadInput, SurgeryOptions
from spikefront.svtmodels.surgery import prepared


def _blueprint(options: SurgeryOptions) -> Blueprint:
    settings = EvaluationSettings(batch_size=20, gate_images=8, surgery=options)
    preprocessing = Preprocessing.preset("digits")
    return Blueprint.prepare(digits_network(), few_digits(), preprocessing, settings)


def test_what_one_evaluator_prepared_the_next_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    candidate = chosen(digits_network(), channel=0.5, weight=3, density=0.5)
    blueprint = _blueprint(SurgeryOptions(recovery_images=8))
    first = blueprint.builder().build(candidate).state_dict()
    files = surgery_store().files()
    assert files
    assert surgery_store().folder == tmp_path / "spikefront" / "surgery"

    def never(*_: object) -> None:
        raise AssertionError("it was prepared before")

    for work in ("quantise", "surgeon_order", "resolved", "pruned_with_compensation"):
        monkeypatch.setattr(prepared, work, never)
    second = blueprint.builder().build(candidate).state_dict()
    assert all(torch.equal(second[name], tensor) for name, tensor in first.items())
    assert [path for path, _ in surgery_store().files()] != []


def test_other_options_are_prepared_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    candidate = chosen(digits_network(), weight=2)
    options = SurgeryOptions(recovery_images=0)
    blueprint = _blueprint(options)
    blueprint.builder().build(candidate)
    before = len(surgery_store().files())
    other = replace(blueprint.settings, surgery=replace(options, scales="max"))
    replace(blueprint, settings=other).builder().build(candidate)
    assert len(surgery_store().files()) == 2 * before


@pytest.mark.parametrize("limit", ["-1", "much", "inf"])
def test_a_wrong_limit_is_refused(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEFRONT_SURGERY_GIB", limit)
    with pytest.raises(BadInput, match="SPIKEFRONT_SURGERY_GIB is"):
        surgery_store()


def test_it_can_be_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("SPIKEFRONT_SURGERY_GIB", "0")
    _blueprint(SurgeryOptions(recovery_images=0)).builder().build(
        chosen(digits_network(), weight=2)
    )
    assert not surgery_store().folder.exists()
