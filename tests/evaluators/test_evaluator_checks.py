"""Evaluations that a strategy asked for with checks of its own, and constraints on work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from evaluated_models import (
    GATE_IMAGES,
    N_SEARCH,
    chosen,
    digits_blueprint,
    digits_network,
    with_settings,
)

from spikefront.evaluators.accuracy import correct
from spikefront.evaluators.evaluation import (
    PROBE,
    WHOLE,
    Checks,
    Evaluation,
    Gate,
    Request,
    Stage,
    State,
)
from spikefront.evaluators.evaluator import Evaluator
from spikefront.evaluators.synops import SynOpCounter
from spikefront.spaces import BadInput, Candidate
from spikefront.spaces.site import SiteKind
from spikefront.svtmodels.costs import static_costs
from spikefront.svtmodels.surgery.compress import compress

MILD = chosen(digits_network(), token=0.5, time=2)
FOUR_BITS = chosen(digits_network(), weight=4)
RUINED = chosen(digits_network(), weight=2)
STRICT = Gate(5, max_drift=1e-9, rivals=((1, 1.0),))


def evaluator(**limits: Any) -> Evaluator:
    return with_settings(digits_blueprint(), **limits).build()


def untimed(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, timing={})


def lost(candidate: Candidate) -> np.ndarray:
    """Trained network right minus candidate right, per search image, computed anew."""
    blueprint = digits_blueprint()
    network = compress(digits_network(), candidate)
    right = correct(network, blueprint.search, blueprint.preprocessing, 13).numpy()
    return blueprint.search_correct.astype(int) - right


def weights(bits: int, others: Mapping[str, int] | None = None) -> Candidate:
    """All weights in some bits, a few in others."""
    sites = [site for site in digits_network().sites if site.kind is SiteKind.WEIGHT]
    return Candidate.of({site: (others or {}).get(site.name, bits) for site in sites})


def test_a_probe_ends_behind_the_gates_images_and_nothing_judges_it() -> None:
    judge = evaluator(max_drop=0.0, max_bytes=1, max_macs=1, max_energy_mj=1e-9, max_synops=1.0)
    got = judge(Request(RUINED, STRICT, checks=PROBE))
    assert (got.state, got.stage, got.rejection) == (State.PROBED, Stage.DRIFT, None)
    assert (got.violation, got.answers, got.feasible) == (0.0, None, False)
    assert got.image_evaluations == GATE_IMAGES
    free = evaluator()(Request(RUINED))
    signals = ("drift", "drift_last", "flips", "flips_last", "kl", "disagreement")
    assert {n: got.measures[n] for n in signals} == {n: free.measures[n] for n in signals}
    assert got.layers == free.layers
    assert {"accuracy", "drop", "n_search"}.isdisjoint(got.measures)
    assert list(got.timing) == ["seconds"]
    assert list(got.timing["seconds"]) == ["static", "drift"]


def test_a_probe_counts_synops_on_the_gates_images() -> None:
    blueprint = digits_blueprint()
    inputs = blueprint.preprocessing.apply(blueprint.calibration.images)
    for candidate in (MILD, FOUR_BITS):
        network = compress(digits_network(), candidate)
        with torch.inference_mode(), SynOpCounter(network) as counted:
            network(inputs)
        got = evaluator()(Request(candidate, checks=PROBE)).measures
        assert got["synops"] == counted.total / GATE_IMAGES
        costs = static_costs(digits_network(), candidate)
        real = costs.first_macs + costs.score_macs + costs.head_macs
        assert got["energy_mj"] == pytest.approx((4.6 * real + 0.9 * got["synops"]) * 1e-9)
        again = 4.6e-9 * costs.first_macs * (network.time_steps - 1)
        assert got["energy_literature_mj"] == pytest.approx(got["energy_mj"] + again)


def test_probes_between_other_evaluations_change_nothing() -> None:
    shared = evaluator(prefix_mib=64)
    late = weights(6, {"block.1.mlp.fc2": 3})
    requests = [
        Request(candidate, gate, checks=checks)
        for candidate in (weights(6), late, weights(6), late)
        for gate, checks in ((Gate(), PROBE), (Gate(max_drift=0.05), None), (Gate(), WHOLE))
    ]
    for request in requests:
        assert untimed(shared(request)) == untimed(evaluator(prefix_mib=0)(request))


def test_the_whole_is_measured_whatever_the_search_would_say() -> None:
    size = static_costs(digits_network(), RUINED).bytes
    judge = evaluator(max_drop=0.02, max_bytes=size - 1000, max_energy_mj=1e-4, alpha=0.5)
    got = judge(Request(RUINED, STRICT, checks=WHOLE))
    assert (got.state, got.stage, got.rejection) == (State.INFEASIBLE, Stage.FULL, None)
    assert got.measures == evaluator()(Request(RUINED)).measures
    assert got.measures["drop"] == lost(RUINED).mean()
    assert got.image_evaluations == GATE_IMAGES + N_SEARCH
    excess = [size / (size - 1000) - 1, got.measures["energy_mj"] / 1e-4 - 1]
    assert got.violation == pytest.approx(sum(excess) + got.measures["drop"] - 0.02)
    assert got.answers is not None
    assert got.answers.seen.all()
    assert untimed(judge(Request(RUINED, STRICT, audited=True, checks=WHOLE))).measures == (
        got.measures
    )


def test_within_all_limits_the_whole_is_complete() -> None:
    got = evaluator(max_drop=0.9)(Request(FOUR_BITS, STRICT, checks=WHOLE))
    assert (got.state, got.violation) == (State.COMPLETE, 0.0)


def test_all_constraints_add_up() -> None:
    free = evaluator()(Request(MILD)).measures
    names = ("bytes", "macs", "energy_mj", "synops")
    limits = {f"max_{name}": free[name] / 1.25 for name in names}
    limits |= {"max_bytes": int(limits["max_bytes"]), "max_macs": int(limits["max_macs"])}
    got = evaluator(**limits)(Request(MILD, checks=WHOLE))
    expected = sum(free[name] / limits[f"max_{name}"] - 1 for name in names)
    assert got.violation == pytest.approx(expected)
    assert expected == pytest.approx(1.0, abs=1e-3)


def test_checks_reject_by_drift_and_know_no_audit() -> None:
    for audited in (False, True):
        got = evaluator()(Request(FOUR_BITS, checks=Checks(max_drift=0.05), audited=audited))
        assert (got.state, got.stage) == (State.REJECTED, Stage.DRIFT)
        assert got.rejection is not None
        assert got.rejection.stage is Stage.DRIFT
        assert got.rejection.threshold == 0.05
        assert got.violation == got.rejection.value - 0.05 > 0
        assert got.image_evaluations == GATE_IMAGES
    drift = evaluator()(Request(FOUR_BITS)).measures["drift"]
    assert evaluator()(Request(FOUR_BITS, checks=Checks(max_drift=drift))).stage is Stage.FULL


@pytest.mark.parametrize("subset", [7, 20, 33, N_SEARCH])
def test_the_first_images_are_asked_first_and_may_be_enough(subset: int) -> None:
    differences = lost(RUINED)
    drop = differences[:subset].mean()
    assert drop > 0.1
    got = evaluator()(Request(RUINED, checks=Checks(subset=subset, subset_drop=drop - 0.01)))
    assert (got.state, got.stage) == (State.REJECTED, Stage.SUBSET)
    right = digits_blueprint().search_correct[:subset]
    assert got.measures["n_search"] == subset
    assert got.measures["drop"] == pytest.approx(drop)
    assert got.measures["accuracy"] == pytest.approx(right.mean() - drop)
    assert got.rejection is not None
    assert (got.rejection.stage, got.rejection.value) == (Stage.SUBSET, got.measures["drop"])
    assert got.violation == pytest.approx(0.01)
    assert got.image_evaluations == GATE_IMAGES + subset
    assert got.answers is not None
    np.testing.assert_array_equal(np.flatnonzero(got.answers.seen), np.arange(subset))
    np.testing.assert_array_equal(got.answers.worse[:subset], differences[:subset] == 1)
    assert "synops" not in got.measures


@pytest.mark.parametrize("subset", [0, 7, 20, 1000])
def test_a_subset_that_passes_changes_nothing(subset: int) -> None:
    judge = evaluator(max_drop=0.02)
    whole = judge(Request(RUINED, checks=WHOLE))
    got = judge(Request(RUINED, checks=Checks(subset=subset, subset_drop=1.0)))
    assert untimed(got) == untimed(whole)
    assert got.state is State.INFEASIBLE


def test_a_drop_at_the_subsets_limit_passes() -> None:
    drop = float(lost(RUINED)[:20].sum()) / 20
    for limit, stage in ((drop, Stage.FULL), (np.nextafter(drop, 0), Stage.SUBSET)):
        checks = Checks(subset=20, subset_drop=float(limit))
        assert evaluator()(Request(RUINED, checks=checks)).stage is stage


def test_checks_that_mean_nothing_are_refused() -> None:
    with pytest.raises(BadInput, match="a probe"):
        Checks(until=Stage.SUBSET)
    with pytest.raises(BadInput, match=r"checks\.subset"):
        Checks(subset=-1)


@pytest.mark.parametrize("checks", [PROBE, Checks(subset=9, subset_drop=0.1), WHOLE], ids=str)
def test_checked_evaluations_survive_their_record(checks: Checks) -> None:
    got = untimed(evaluator()(Request(RUINED, checks=checks)))
    assert Evaluation.from_dict(json.loads(json.dumps(got.to_dict()))) == got
    assert len(got.layers) > 10


def test_too_many_macs_end_it_before_any_forward_pass() -> None:
    macs = static_costs(digits_network(), MILD).macs
    got = evaluator(max_macs=macs - 1)(Request(MILD, audited=True))
    assert (got.state, got.stage, got.image_evaluations) == (State.INFEASIBLE, Stage.STATIC, 0)
    assert got.violation == pytest.approx(macs / (macs - 1) - 1)
    assert evaluator(max_macs=macs)(Request(MILD)).state is State.COMPLETE


def test_too_many_synops_are_infeasible() -> None:
    synops = evaluator()(Request(MILD)).measures["synops"]
    got = evaluator(max_synops=synops / 1.5)(Request(MILD))
    assert (got.state, got.stage) == (State.INFEASIBLE, Stage.FULL)
    assert got.violation == pytest.approx(0.5)
    assert evaluator(max_synops=synops)(Request(MILD)).state is State.COMPLETE


def test_latency_is_timing_of_what_was_judged_in_full() -> None:
    judge = evaluator(max_drop=0.02)
    full = judge(Request(FOUR_BITS, checks=WHOLE))
    assert full.timing["latency_ms"] > 0
    assert full.timing["latency_ms"] * N_SEARCH / 1000 < full.timing["seconds"]["subset"]
    assert "latency_ms" not in full.measures
    for request in (Request(RUINED), Request(RUINED, checks=PROBE), Request(MILD, test=True)):
        assert "latency_ms" not in judge(request).timing
