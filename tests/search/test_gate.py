from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from simulated import SPACES, share
from simulated_search import OBJECTIVES

from spikefront.evaluators.drop_model import LAYER
from spikefront.evaluators.evaluation import Evaluation, Gate, Rejection, Stage, State
from spikefront.evaluators.image_order import ImageOrder
from spikefront.search.config_sections import GateSection
from spikefront.search.drop_fit import SIGNALS
from spikefront.search.front import Front
from spikefront.search.gate import SLACK, GatePolicy, audit
from spikefront.spaces import Candidate


def candidate(number: int) -> Candidate:
    return Candidate((("weight", f"layer.{number}", 2),))


def measured(
    number: int,
    drift: float = 0.1,
    accuracy: float = 0.9,
    size: int | None = None,
    state: State = State.COMPLETE,
    **changes: object,
) -> Evaluation:
    """By default each one is worse than the one before in bytes and better in accuracy."""
    measures = {"bytes": 1000 + number if size is None else size, "accuracy": accuracy}
    evaluation = Evaluation(candidate(number), state, Stage.FULL, {**measures, "drift": drift})
    return replace(evaluation, **changes)


class Committed:
    """A policy and the front that it is told of."""

    def __init__(self, settings: GateSection, limited: bool = True) -> None:
        self.policy = GatePolicy(settings, seed=0, max_drop=0.05 if limited else None)
        self.front = Front(OBJECTIVES)

    def commit(self, evaluations: Sequence[Evaluation]) -> Gate:
        for evaluation in evaluations:
            entered = self.front.add(evaluation)
            self.policy.update(evaluation, self.front, entered)
        return self.policy.current


def auto(**changes: object) -> GateSection:
    return GateSection(**{"by": "drift", "warmup": 0, "false_reject_rate": 0.25, **changes})  # pyright: ignore


def test_nothing_is_known_before_the_first_commit():
    gate = GatePolicy(GateSection(), 0, max_drop=0.05).current
    assert gate == Gate(version=0, max_drift=None, rivals=(), order=ImageOrder())


def test_version_counts_the_commits_of_any_state():
    states = [*State]
    gate = Committed(auto()).commit([measured(n, state=s) for n, s in enumerate(states)])
    assert gate.version == len(states)


def test_no_limit_during_the_warmup():
    search = Committed(auto(warmup=10))
    drifts = [n / 100 for n in range(1, 12)]
    limits = [search.commit([measured(n, d)]).max_drift for n, d in enumerate(drifts)]
    assert limits[:9] == [None] * 9
    assert None not in limits[9:]


def test_warmup_counts_commits_and_the_quantile_worthy_ones():
    """19 worthy ones are needed before 5 % of them can be given up."""
    search = Committed(auto(warmup=5, false_reject_rate=0.05))
    misses = [measured(n, 9.0, state=State.INFEASIBLE) for n in range(30)]
    assert search.commit(misses).max_drift is None
    assert search.commit([measured(30 + n, 0.1) for n in range(18)]).max_drift is None
    assert search.commit([measured(50, 0.1)]).max_drift == pytest.approx(SLACK * 0.1)


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=60), st.sampled_from([0.05, 0.1, 0.25]))
@settings(max_examples=50, deadline=None)
def test_limit_is_the_conformal_quantile(drifts: list[float], rate: float):
    """Smallest drift such that a share of 1 - rate of n + 1 lies at or below it."""
    gate = Committed(auto(false_reject_rate=rate)).commit(
        [measured(n, drift) for n, drift in enumerate(drifts)]
    )
    needed = (1 - rate) * (len(drifts) + 1)
    enough = [d for d in drifts if sum(other <= d for other in drifts) >= needed - 1e-9]
    if not enough:
        assert gate.max_drift is None
    else:
        assert gate.max_drift == pytest.approx(SLACK * min(enough))


def test_order_of_commits_does_not_matter():
    drifts = [0.3, 0.1, 0.5, 0.2, 0.4]
    limits = {
        Committed(auto()).commit([measured(n, d) for n, d in enumerate(order)]).max_drift
        for order in (drifts, sorted(drifts), sorted(drifts, reverse=True))
    }
    assert len(limits) == 1


def test_with_an_accuracy_limit_complete_ones_are_worthy_even_off_the_front():
    dominated = [measured(n, 0.1 * (n + 1), accuracy=0.9, size=1000) for n in range(4)]
    assert Committed(auto(), limited=True).commit(dominated).max_drift == pytest.approx(SLACK * 0.4)
    assert Committed(auto(), limited=False).commit(dominated).max_drift is None


def test_without_an_accuracy_limit_what_entered_the_front_is_worthy():
    staircase = [measured(n, 0.1 * (n + 1), accuracy=0.5 + n / 100) for n in range(4)]
    gate = Committed(auto(), limited=False).commit(staircase)
    assert gate.max_drift == pytest.approx(SLACK * 0.4)


def test_audited_ones_beyond_the_limit_raise_it_again():
    search = Committed(auto())
    low = search.commit([measured(n, 0.1) for n in range(3)]).max_drift
    beyond = [
        measured(10 + n, 0.8, audited=True, rejection=Rejection(Stage.DRIFT, 0.8, 0.15))
        for n in range(3)
    ]
    high = search.commit(beyond).max_drift
    assert low == pytest.approx(SLACK * 0.1)
    assert high == pytest.approx(SLACK * 0.8)


def test_an_audited_one_beyond_the_limit_stands_for_those_never_seen():
    """By hand, at a tenth audited and a quarter given up: one in 20, and one that weighs ten."""
    good = [measured(n, 0.1) for n in range(20)]
    beyond = measured(90, 0.8, audited=True, rejection=Rejection(Stage.DRIFT, 0.8, 0.15))
    by_subset = replace(beyond, rejection=Rejection(Stage.SUBSET, 0.8, 0.15))
    seen = [replace(beyond, audited=False, rejection=None), replace(beyond, rejection=None)]
    for alike in (*seen, by_subset):  # 20 of 22 are within 0.1: more than the 16.5 needed.
        assert Committed(auto()).commit([*good, alike]).max_drift == pytest.approx(SLACK * 0.1)
    # 20 of 31 are, fewer than the 23.25 needed.
    weighed = Committed(auto(audit_share=0.1)).commit([*good, beyond]).max_drift
    assert weighed == pytest.approx(SLACK * 0.8)


def test_rejected_ones_do_not_move_the_limit():
    search = Committed(auto())
    before = search.commit([measured(n, 0.1) for n in range(3)]).max_drift
    rejected = measured(9, 5.0, state=State.REJECTED, stage=Stage.DRIFT)
    lost = replace(measured(10, state=State.LOST), measures={})
    assert search.commit([rejected, lost]).max_drift == before


def test_a_fixed_limit_holds_from_the_first_commit():
    search = Committed(GateSection(by="drift", max_drift=0.25, warmup=32))
    assert search.commit([measured(0, 0.9)]).max_drift == 0.25
    assert search.commit([measured(n, 0.9) for n in range(1, 60)]).max_drift == 0.25


def test_a_fixed_limit_holds_for_the_first_candidate_too():
    policy = GatePolicy(GateSection(by="drift", max_drift=0.25), 0, max_drop=0.05)
    assert policy.current.max_drift == 0.25


def test_disabled_it_has_no_limit_and_audits_nothing():
    search = Committed(GateSection(enabled=False, warmup=0, audit_share=1.0, max_drift=0.1))
    assert search.commit([measured(n) for n in range(50)]).max_drift is None
    assert not any(search.policy.audits(f"{n:016x}") for n in range(100))


def test_rivals_are_the_front_where_no_accuracy_limit_is_set():
    staircase = [measured(n, accuracy=0.5 + n / 100) for n in reversed(range(5))]
    gate = Committed(auto(), limited=False).commit(staircase)
    assert gate.rivals == tuple((1000 + n, 0.5 + n / 100) for n in range(5))
    assert Committed(auto(), limited=True).commit(staircase).rivals == ()


@pytest.mark.parametrize("size", [63, 64, 65, 128, 500])
def test_rivals_are_few_whatever_the_size_of_the_front(size: int):
    staircase = [measured(n, accuracy=0.5 + n / 2000) for n in range(size)]
    rivals = Committed(auto(), limited=False).commit(staircase).rivals
    assert 32 <= len(rivals) <= 64
    assert rivals[0][0] == 1000
    assert [r for r, _ in rivals] == sorted(r for r, _ in rivals)
    gaps = {b - a for (a, _), (b, _) in itertools.pairwise(rivals)}
    assert len(gaps) == 1


def keys(count: int) -> list[str]:
    return [candidate(n).key for n in range(count)]


@pytest.mark.parametrize("wanted", [0.05, 0.1, 0.5])
def test_audit_share_within_three_sigma(wanted: float):
    policy = GatePolicy(GateSection(audit_share=wanted), seed=3, max_drop=0.05)
    audited = sum(policy.audits(key) for key in keys(2_000))
    assert abs(audited - 2_000 * wanted) < 3 * math.sqrt(2_000 * wanted * (1 - wanted))


def test_audit_share_at_its_ends():
    nothing, everything = (
        GatePolicy(GateSection(audit_share=s), 0, max_drop=0.05) for s in (0.0, 1.0)
    )
    assert not any(nothing.audits(key) for key in keys(200))
    assert all(everything.audits(key) for key in keys(200))


def test_audits_depend_on_seed_and_key_and_grow_with_the_share():
    def chosen(seed: int, wanted: float) -> set[str]:
        policy = GatePolicy(GateSection(audit_share=wanted), seed, max_drop=0.05)
        return {key for key in keys(500) if policy.audits(key)}

    assert chosen(0, 0.1) == chosen(0, 0.1)
    assert chosen(0, 0.1) != chosen(1, 0.1)
    assert chosen(0, 0.1) < chosen(0, 0.3)


BY_DRIFT = Rejection(Stage.DRIFT, 0.5, 0.2)
BY_SUBSET = Rejection(Stage.SUBSET, 0.3, 0.1)


def test_precision_and_recall_of_audited_candidates():
    rejected_bad = [measured(n, state=State.INFEASIBLE, rejection=BY_DRIFT) for n in range(3)]
    rejected_good = [measured(10, rejection=BY_DRIFT)]
    passed_bad = [measured(20 + n, state=State.INFEASIBLE) for n in range(2)]
    passed_bad += [measured(25, state=State.INFEASIBLE, rejection=BY_SUBSET)]
    passed_good = [measured(30 + n) for n in range(4)]
    judged = [
        replace(e, audited=True) for e in rejected_bad + rejected_good + passed_bad + passed_good
    ]
    unseen = [
        measured(40, state=State.INFEASIBLE),
        measured(41, state=State.REJECTED, stage=Stage.DRIFT, rejection=BY_DRIFT),
        measured(42, state=State.FAILED, stage=Stage.STATIC, audited=True),
    ]
    found = audit([*judged, *unseen], 0)
    assert (found.audited, found.rejected) == (11, 4)
    assert found.precision == pytest.approx(3 / 4)
    assert found.recall == pytest.approx(3 / 6)


def test_what_was_audited_before_there_was_a_limit_is_not_judged():
    early = measured(0, state=State.INFEASIBLE, audited=True, gate_version=4)
    late = measured(1, state=State.INFEASIBLE, audited=True, gate_version=7, rejection=BY_DRIFT)
    assert audit([early, late], 7).recall == 1.0
    assert audit([early, late], 0).recall == 0.5
    assert audit([early, late], None).audited == 0


def test_nothing_audited_nothing_claimed():
    found = audit([measured(0), measured(1, state=State.REJECTED, stage=Stage.DRIFT)], 0)
    assert (found.audited, found.rejected) == (0, 0)
    assert found.precision is found.recall is found.rank_correlation is None
    assert audit([], None).audited == 0


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=40))
@settings(max_examples=100, deadline=None)
def test_rank_correlation_is_spearmans_with_ties(pairs: list[tuple[int, int]]):
    drifts, accuracies = [d for d, _ in pairs], [a for _, a in pairs]
    found = audit([measured(n, d / 10, a / 10) for n, (d, a) in enumerate(pairs)], None)
    if len(set(drifts)) < 2 or len(set(accuracies)) < 2:
        assert found.rank_correlation is None
    else:
        expected = float(spearmanr(drifts, accuracies).statistic)  # pyright: ignore
        assert found.rank_correlation == pytest.approx(expected, abs=1e-9)


def test_rank_correlation_is_over_all_that_was_measured_in_full():
    falling = [measured(n, 0.1 * n, 0.9 - 0.1 * n) for n in range(4)]
    misleading = [
        measured(8, 0.0, 0.0, state=State.REJECTED, stage=Stage.SUBSET),
        replace(measured(9, state=State.FAILED, stage=Stage.STATIC), measures={}),
    ]
    assert audit(falling + misleading, None).rank_correlation == pytest.approx(-1.0)


def test_shares_of_the_simulation_are_uniform():
    """The made-up chance that other tests build upon."""
    drawn = sorted(share(SPACES[0].decode([0, 0, 0, 0]).key, f"{n}") for n in range(400))
    assert max(abs(value - n / 400) for n, value in enumerate(drawn)) < 0.1


def signalled(number: int, kl: float, drop: float, **changes: object) -> Evaluation:
    """Measured on all search images, with all signals."""
    signals = dict.fromkeys(SIGNALS, 0.0) | {"kl": kl, "drift": 0.1}
    state = State.COMPLETE if drop <= 0.05 else State.INFEASIBLE
    evaluation = measured(number, 0.1, 0.9 - drop, **{"state": state, **changes})
    measures = {**evaluation.measures, **signals, "drop": drop, "n_search": 100}
    return replace(evaluation, measures=measures)


def line_of_drops(count: int, seed: int = 0) -> list[Evaluation]:
    """Drops that follow divergence closely; about half of them are within the limit."""
    rng = random.Random(seed)
    divergences = [rng.uniform(0, 0.2) for _ in range(count)]
    return [
        signalled(n, kl, 0.5 * kl + rng.uniform(-0.004, 0.004)) for n, kl in enumerate(divergences)
    ]


MODEL = GateSection(warmup=10, false_reject_rate=0.05)


def test_the_model_needs_as_many_worthy_ones_as_its_rate_says():
    search = Committed(MODEL)
    worthy = [e for e in line_of_drops(200) if e.feasible]
    assert search.commit(worthy[:18]).model is None
    assert search.policy.limited_since is None
    assert search.commit(worthy[18:19]).model is not None
    assert search.policy.limited_since == 19


def test_the_model_rejects_few_of_those_within_the_limit_and_most_beyond():
    model = Committed(MODEL).commit(line_of_drops(300)).model
    assert model is not None
    fresh = line_of_drops(1000, seed=1)
    rejected = [e for e in fresh if model.predict(e.measures) > 0.05 + model.margin]
    assert sum(e.feasible for e in rejected) < 0.1 * sum(e.feasible for e in fresh)
    beyond = [e for e in fresh if e.measures["drop"] > 0.06]
    assert sum(e in rejected for e in beyond) > 0.95 * len(beyond)


def test_the_model_weighs_layers():
    """Divergence says nothing here, one layer says all; the margin is of the model with layers."""
    rng = random.Random(0)
    layered = []
    for number in range(300):
        layers = {name: rng.uniform(0, 0.2) for name in ("early", "late")}
        drop = 0.5 * layers["late"] + rng.uniform(-0.002, 0.002)
        layered.append(signalled(number, rng.uniform(0, 0.2), drop, layers=layers))
    pooled = [replace(e, layers={}) for e in layered]
    blind, seeing = (Committed(MODEL).commit(each).model for each in (pooled, layered))
    assert blind is not None
    assert seeing is not None
    weights = dict(seeing.weights)
    assert weights[LAYER + "late"] > 0.3
    assert weights.get(LAYER + "early", 0.0) < 0.05
    bad = [e for e in layered if not e.feasible]
    signals = [{**e.measures, LAYER + "late": e.layers["late"]} for e in bad]
    limits = [0.05 + model.margin for model in (blind, seeing)]
    assert sum(blind.predict(each) > limits[0] for each in signals) < 0.3 * len(bad)
    assert sum(seeing.predict(each) > limits[1] for each in signals) > 0.6 * len(bad)


def test_audited_ones_that_it_would_have_rejected_weigh_for_those_never_seen():
    """At a tenth audited, each stands for ten: three of them outweigh 5 % of 100."""
    good = [e for e in line_of_drops(300) if e.feasible][:100]
    beyond = Rejection(Stage.DRIFT, 0.2, 0.1)
    seen = [signalled(900 + n, 0.4, 0.01) for n in range(3)]
    audited = [replace(e, audited=True, rejection=beyond) for e in seen]
    alike = Committed(MODEL).commit([*good, *seen]).model
    weighed = Committed(MODEL).commit([*good, *audited]).model
    assert alike is not None
    assert weighed is not None
    assert weighed.weights == alike.weights
    assert weighed.margin > alike.margin + 0.002


def test_without_a_limit_the_margin_is_the_error_of_what_entered_the_front():
    rng = random.Random(0)
    staircase = [
        signalled(
            n,
            0.2 - n / 1000,
            0.5 * (0.2 - n / 1000) + rng.uniform(-0.004, 0.004),
            state=State.COMPLETE,
        )
        for n in range(150)
    ]
    model = Committed(MODEL, limited=False).commit(staircase).model
    assert model is not None
    assert 0 < model.margin < 0.008


def test_by_drift_there_is_no_model_and_by_model_no_limit_of_drift():
    evaluations = line_of_drops(100)
    drift = Committed(auto()).commit(evaluations)
    assert drift.model is None
    assert drift.max_drift is not None
    assert Committed(MODEL).commit(evaluations).max_drift is None
    assert Committed(GateSection(enabled=False)).commit(evaluations).model is None


def test_the_model_is_the_same_after_a_replay_and_is_fitted_now_and_then():
    evaluations = line_of_drops(120)
    once, again = Committed(MODEL), Committed(MODEL)
    models = [once.commit([e]).model for e in evaluations]
    assert again.commit(evaluations).model == models[-1]
    fitted = {id(model) for model in models if model is not None}
    assert 2 < len(fitted) < 60
