"""The gate by drift and by a model of the drop, and passes that end before the last layer."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from evaluated_models import (
    GATE_IMAGES,
    N_SEARCH,
    chosen,
    digits_blueprint,
    digits_network,
    hooks,
    with_settings,
)

from spikefront.evaluators.drop_model import LAYER, DropModel
from spikefront.evaluators.evaluation import Evaluation, Gate, Request, Stage, State
from spikefront.evaluators.evaluator import Evaluator
from spikefront.search.drop_fit import SIGNALS, DropSample, fit_line
from spikefront.spaces import Candidate
from spikefront.spaces.site import SiteKind

FOUR_BITS = chosen(digits_network(), weight=4)
LAST = "block.1.mlp.fc2_lif"
MODEL = DropModel((("drift", 0.3), ("flips", 0.5), (LAYER + LAST, 0.1), ("kl", 0.2)), -0.37, 0.01)
EARLY = DropModel((("drift", 1.0),), 0.0, 0.0)


def evaluator(**limits: Any) -> Evaluator:
    return with_settings(digits_blueprint(), **limits).build()


def untimed(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, timing={})


@cache
def mixed() -> list[Candidate]:
    """Bits, widths, tokens and steps at random; many share their first layers."""
    source, found = random.Random(5), []
    sites = [s for s in digits_network().sites if s.kind is not SiteKind.DENSITY]
    for number in range(14):
        late = [s for s in sites if s.block != "patch_embed"] if number % 2 else sites
        picked = source.sample(late, source.randint(1, len(late)))
        base = {s: 6 for s in sites if s.kind is SiteKind.WEIGHT and s.block == "patch_embed"}
        levels = {SiteKind.WEIGHT: (2, 3, 4, 8), SiteKind.TIME: (2, 3)}
        choice = {
            s: source.choice(levels[s.kind])
            if s.kind in levels
            else s.value_at(source.choice((0.5, 0.75)))
            for s in picked
            if s.kind in (SiteKind.WEIGHT, SiteKind.CHANNEL, SiteKind.TOKEN, SiteKind.TIME)
        }
        found.append(Candidate.of({**base, **choice}))
    return found


@cache
def free(candidate: Candidate) -> Evaluation:
    """What is measured where nothing ends it."""
    return untimed(evaluator()(Request(candidate)))


GATES = {
    "drift": Gate(1, max_drift=0.55),
    "model": Gate(2, model=MODEL),
    "both": Gate(3, max_drift=0.8, model=MODEL),
    "rival": Gate(4, model=MODEL, rivals=((1, 0.9),)),
}


def fitted() -> Gate:
    """With a line as a search fits it, of what a pass knows early: drift, flips and all layers."""
    known = dict.fromkeys(SIGNALS, 0.0)
    samples = [
        DropSample(
            known | {name: e.measures[name] for name in ("drift", "flips")},
            e.layers,
            e.measures["drop"],
            1.0,
        )
        for e in map(free, mixed())
    ]
    line = fit_line(samples)
    assert sum(name.startswith(LAYER) for name, _ in line.weights) > 1
    return Gate(5, model=line)


@pytest.mark.parametrize("name", [*GATES, "fitted"])
def test_the_verdict_is_that_of_the_whole_pass(name: str) -> None:
    gate = fitted() if name == "fitted" else GATES[name]
    allowed = float(digits_blueprint().search_correct.mean()) - 0.9 if gate.rivals else 0.03
    judge = evaluator(max_drop=None if gate.rivals else allowed)
    found = [judge(Request(candidate, gate)) for candidate in mixed()]
    for got in found:
        whole = free(got.candidate)
        assert "kl" in whole.measures
        layers = {LAYER + name: drift for name, drift in whole.layers.items()}
        too_far = gate.max_drift is not None and whole.measures["drift"] > gate.max_drift
        if gate.model is not None:
            predicted = gate.model.predict({**whole.measures, **layers})
            too_far |= predicted - allowed > gate.model.margin
        assert (got.stage is Stage.DRIFT) == too_far
        if not too_far:
            passed = judge(Request(got.candidate, replace(gate, max_drift=None, model=None)))
            assert untimed(got) == untimed(passed)
            continue
        assert (got.state, got.image_evaluations) == (State.REJECTED, GATE_IMAGES)
        assert got.rejection is not None
        assert got.rejection.stage is Stage.DRIFT
        for name in ("drift", "flips"):
            assert got.measures[name] <= whole.measures[name]
        assert got.layers.items() <= whole.layers.items()
        assert 0 < got.violation == got.rejection.value - got.rejection.threshold
    ended = sum(e.stage is Stage.DRIFT for e in found)
    assert 3 <= ended <= len(found) - 3
    assert any(e.stage is Stage.DRIFT and "kl" not in e.measures for e in found)


def test_a_pass_ends_at_the_first_layer_that_is_enough() -> None:
    judge = evaluator()
    whole = judge(Request(FOUR_BITS))
    got = judge(Request(FOUR_BITS, Gate(max_drift=0.05)))
    assert (got.state, got.stage) == (State.REJECTED, Stage.DRIFT)
    layers = list(whole.layers.items())
    sums = [sum(drift for _, drift in layers[: n + 1]) / len(layers) for n in range(len(layers))]
    first = next(n for n, partial in enumerate(sums) if partial > 0.05)
    assert first < len(layers) - 1
    assert got.layers == dict(layers[: first + 1])
    assert got.measures["drift"] == pytest.approx(sums[first])
    assert got.rejection is not None
    assert (got.rejection.value, got.rejection.threshold) == (got.measures["drift"], 0.05)
    assert {"kl", "disagreement", "drift_last", "flips_last"}.isdisjoint(got.measures)
    assert got.image_evaluations == GATE_IMAGES


@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_an_abandoned_pass_leaves_nothing_behind(engine: str) -> None:
    limits: dict[str, Any] = {"max_drop": 0.05, "engine": engine}
    few = mixed()[:6] if engine == "compiled" else mixed()[:3]
    shared = evaluator(prefix_mib=64, **limits)
    ended = 0
    for limit in (0.3, 0.02, None):
        for candidate in few:
            request = Request(candidate, Gate(1, max_drift=limit))
            got = untimed(shared(request))
            assert got == untimed(evaluator(prefix_mib=0, **limits)(request))
            ended += got.state is State.REJECTED and "kl" not in got.measures
    assert ended >= len(few)
    assert hooks(shared.network) == 0


def test_rejected_by_the_model() -> None:
    model = DropModel((("kl", 1.0), ("flips_last", 0.5)), 0.01, 0.005)
    whole = evaluator()(Request(FOUR_BITS)).measures
    predicted = 0.01 + whole["kl"] + 0.5 * whole["flips_last"]
    drop = predicted - 0.005 - 1e-6
    got = evaluator(max_drop=drop)(Request(FOUR_BITS, Gate(9, model=model)))
    assert (got.state, got.stage, got.gate_version) == (State.REJECTED, Stage.DRIFT, 9)
    assert got.rejection is not None
    assert got.rejection.value == pytest.approx(predicted)
    assert got.rejection.threshold == drop + 0.005
    assert got.violation == pytest.approx(1e-6)
    assert "kl" in got.measures  # Nothing was sure before the answers.
    passed = evaluator(max_drop=drop + 2e-6)(Request(FOUR_BITS, Gate(9, model=model)))
    assert passed.stage is not Stage.DRIFT


def test_a_model_needs_to_know_what_is_allowed() -> None:
    judge, gate = evaluator(), Gate(1, model=EARLY)
    assert judge(Request(FOUR_BITS, gate)).state is State.COMPLETE
    rival = replace(gate, rivals=((1, 0.95),))
    got = judge(Request(FOUR_BITS, rival))
    assert (got.state, got.stage) == (State.REJECTED, Stage.DRIFT)
    allowed = float(digits_blueprint().search_correct.mean()) - 0.95
    assert got.rejection is not None
    assert got.rejection.threshold == pytest.approx(allowed)
    assert got.rejection.value == pytest.approx(got.measures["drift"])


def test_an_audited_candidate_passes_the_model_with_all_signals() -> None:
    judge = evaluator(max_drop=0.03)
    got = judge(Request(FOUR_BITS, Gate(1, model=EARLY), audited=True))
    free = judge(Request(FOUR_BITS))
    assert got.stage is Stage.FULL
    assert got.rejection is not None
    assert got.rejection.stage is Stage.DRIFT
    assert got.rejection.value == pytest.approx(free.measures["drift"])
    assert got.measures == free.measures
    assert got.layers == free.layers
    assert got.image_evaluations == GATE_IMAGES + N_SEARCH


def test_either_of_two_gates_rejects() -> None:
    judge = evaluator(max_drop=0.03)
    lenient = DropModel((("drift", 1e-6),), 0.0, 1.0)
    for gate in (Gate(max_drift=0.01, model=lenient), Gate(max_drift=9.0, model=EARLY)):
        assert judge(Request(FOUR_BITS, gate)).stage is Stage.DRIFT
    assert judge(Request(FOUR_BITS, Gate(max_drift=9.0, model=lenient))).stage is Stage.FULL
