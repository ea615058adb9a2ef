"""Evaluations that reuse what others left are the same evaluations."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from evaluated_models import GATE_IMAGES, digits_network, few_digits, with_settings

from spikefront.evaluators.blueprint import Blueprint
from spikefront.evaluators.data import Preprocessing
from spikefront.evaluators.evaluation import Evaluation, Gate, Request
from spikefront.evaluators.evaluator import EvaluationSettings, Evaluator
from spikefront.spaces import MAGNITUDE, Candidate
from spikefront.spaces.site import SiteKind
from spikefront.svtmodels.engine.prefix_cache import MEBIBYTE

RIVAL = Gate(5, rivals=((1, 0.99),))
"""A front member that no candidate is as good as: it ends evaluations early."""
STRICT = Gate(3, max_drift=0.01)


@cache
def prepared(engine: str = "compiled") -> Blueprint:
    surgery = replace(MAGNITUDE, recovery_images=8)
    settings = EvaluationSettings(
        batch_size=11, gate_images=GATE_IMAGES, engine=engine, surgery=surgery
    )
    preprocessing = Preprocessing.preset("digits")
    return Blueprint.prepare(digits_network(), few_digits(), preprocessing, settings)


def sweep() -> list[Candidate]:
    """Bits, widths, tokens and steps, mostly of late layers, as in a greedy pass."""
    sites = {kind: [s for s in digits_network().sites if s.kind is kind] for kind in SiteKind}
    weights, widths, tokens = (
        sites[kind] for kind in (SiteKind.WEIGHT, SiteKind.CHANNEL, SiteKind.TOKEN)
    )
    (steps,) = sites[SiteKind.TIME]
    base = {weights[2]: 6}
    found = [base, *({**base, weights[-2]: bits} for bits in (8, 4, 2, 4))]
    found += [{**base, weights[-4]: 3, widths[-1]: widths[-1].value_at(0.5)}]
    found += [{**base, tokens[-1]: tokens[-1].value_at(0.5), steps: 2}]
    found += [{**base, tokens[-1]: tokens[-1].value_at(share)} for share in (0.5, 0.75)]
    return [Candidate.of(choice) for choice in found]


def told(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, timing={})


def evaluators(engine: str = "compiled") -> tuple[Evaluator, Evaluator]:
    made = prepared(engine)
    return with_settings(made, prefix_mib=0).build(), with_settings(made, prefix_mib=64).build()


@pytest.mark.parametrize("audited", [False, True], ids=["gated", "audited"])
def test_nothing_but_the_time_changes(audited: bool) -> None:
    alone, shared = evaluators()
    for candidate in sweep():
        for gate in (STRICT,) if audited else (Gate(), RIVAL):
            request = Request(candidate, gate, audited=audited)
            assert told(shared(request)) == told(alone(request))
    request = Request(sweep()[1], test=True)
    assert told(shared(request)) == told(alone(request))


def test_plain_torch_reuses_recovery_alone() -> None:
    alone, shared = evaluators("torch")
    for candidate in sweep()[:3]:
        assert told(shared(Request(candidate))) == told(alone(Request(candidate)))


def test_reuse_runs_fewer_sections() -> None:
    found = []
    for evaluator in evaluators():
        for candidate in sweep():
            evaluator(Request(candidate))
        assert evaluator.prefixes is not None
        found.append(evaluator.prefixes.work)
    alone, shared = found
    assert alone.run == alone.asked == shared.asked
    assert shared.run < 0.6 * alone.run


def test_the_budget_is_kept_and_is_no_part_of_an_evaluation() -> None:
    little = with_settings(prepared(), prefix_mib=1)
    assert little.fingerprints() == prepared().fingerprints()
    evaluator, most = little.build(), 0
    assert evaluator.prefixes is not None
    for candidate in sweep():
        evaluator(Request(candidate))
        most = max(most, evaluator.prefixes.nbytes)
    assert 0 < most <= MEBIBYTE
