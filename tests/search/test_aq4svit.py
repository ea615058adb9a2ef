"""AQ4SViT: its gate and its two searches, against cases worked out by hand and by brute force."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up_method import GATE_IMAGES, SEARCH_IMAGES, Table
from simulated import SimulatedEvaluator
from simulated_search import Setup, digest, run

from spikefront.evaluators.evaluation import PROBE, WHOLE, Stage
from spikefront.search.config_sections import StrategySection
from spikefront.search.controller import Budget
from spikefront.search.strategies import STRATEGIES, Limits, build_strategy
from spikefront.spaces import BadInput, Candidate, Granularity, Site, SiteKind

NUMBERS = {"a": 100, "b": 300, "c": 50}
SITES = (
    Site("a", SiteKind.WEIGHT, 32, "front", "a"),
    Site("b", SiteKind.WEIGHT, 32, "back", "b"),
    Site("c", SiteKind.WEIGHT, 32, "back", "c"),
)
LIMITS = Limits(drop=0.015)


def size(candidate: Candidate) -> int:
    return sum(NUMBERS[site.name] * candidate.value(site) for site in SITES)


def table(**changes: Any) -> Table:
    return replace(
        Table(
            sites=SITES,
            levels={SiteKind.WEIGHT: (2, 4, 8)},
            losses={
                "a": {4: 0.001, 2: 0.008},
                "b": {4: 0.004, 2: 0.050},
                "c": {4: 0.001, 2: 0.002},
            },
            bytes=size,
        ),
        **changes,
    )


def bits(candidate: Candidate) -> dict[str, int]:
    return {site.name: candidate.value(site) for site in SITES}


def chosen(tested: Any, outcome: Any) -> dict[str, int]:
    return next(bits(s.candidate) for s, _ in tested if s.candidate.key == outcome["chosen"])


def test_greedy_with_its_gate_by_hand():
    """All at 4 bits lose 0.6 points and drift 0.06, so the gate is at 0.09, a drop of 0.9."""
    made = table()
    strategy = made.strategy("aq4svit-greedy", LIMITS, subset=20)
    tested = made.drive(strategy, LIMITS)
    assert [bits(s.candidate) for s, _ in tested] == [
        {"a": 32, "b": 32, "c": 32},
        {"a": 8, "b": 8, "c": 8},
        {"a": 4, "b": 4, "c": 4},
        {"a": 2, "b": 2, "c": 2},
        # Stages, the larger one first.
        {"a": 4, "b": 2, "c": 2},
        {"a": 2, "b": 4, "c": 4},
        # Blocks; a is a stage of its own and had its turn.
        {"a": 4, "b": 2, "c": 4},
        {"a": 4, "b": 4, "c": 2},
    ]
    assert [s.checks for s, _ in tested[:4]] == [WHOLE] * 4
    checks = tested[-1][0].checks
    assert checks is not None and checks.max_drift == pytest.approx(0.09)
    assert (checks.until, checks.subset) == (Stage.FULL, 20)
    assert checks.subset_drop == pytest.approx(0.025)
    outcome = strategy.outcome()
    assert outcome is not None
    assert chosen(tested, outcome) == {"a": 4, "b": 4, "c": 2}
    assert (outcome["met"], outcome["finished"], outcome["nearest_miss"]) == (True, True, None)
    # a at 2 bits would have lost 1.3 points, within the limit: the gate is what it fails at.
    assert (outcome["rejected_by_drift"], outcome["rejected_by_mini_batch"]) == (3, 0)
    assert outcome["full_evaluations"] == 5
    whole = GATE_IMAGES + SEARCH_IMAGES
    assert outcome["image_evaluations"] == {
        "network": 4 * whole,
        "stage": 2 * GATE_IMAGES,
        "block": GATE_IMAGES + whole,
    }
    # Drift is ten times the drop here, so it puts accuracies in their very order.
    assert outcome["rank_correlation"] == pytest.approx(-1)
    kept = size(tested[-1][0].candidate) / size(Candidate())
    assert outcome["saved_of_float32"] == pytest.approx(1 - kept)
    assert outcome["saved_of_qsvit"] == pytest.approx(1 - kept / 0.7725)


def test_greedy_without_gate_and_mini_batch_goes_on_by_hand():
    made = table()
    strategy = made.strategy("aq4svit-greedy", LIMITS, gate=False, mini_batch=False)
    tested = made.drive(strategy, LIMITS)
    assert {s.checks for s, _ in tested} == {WHOLE}
    outcome = strategy.outcome()
    assert outcome is not None
    # a: 0.8 + 0.4 + 0.1 points at the stages, then c: 0.8 + 0.4 + 0.2.
    assert chosen(tested, outcome) == {"a": 2, "b": 4, "c": 2}
    assert outcome["max_drift"] is None
    assert outcome["full_evaluations"] == len(tested) == 8


def test_the_mini_batch_alone_rejects():
    made = table()
    strategy = made.strategy("aq4svit-greedy", LIMITS, gate=False, subset=20, margin=0.005)
    made.drive(strategy, LIMITS)
    outcome = strategy.outcome()
    assert outcome is not None
    # b at 2 bits, with c and alone; all else is within 2 points.
    assert (outcome["rejected_by_drift"], outcome["rejected_by_mini_batch"]) == (0, 2)
    assert outcome["image_evaluations"]["stage"] == 2 * GATE_IMAGES + 20 + SEARCH_IMAGES


def smallest_by_brute_force(made: Table, limit: float) -> int:
    """Fewest bytes of all combinations up to the lowest uniform width that passes."""
    values = (2, 4, 8, 32)
    uniform = (Candidate.of(dict.fromkeys(SITES, v)) for v in values)
    start = next(c for c in uniform if made.drop(c) <= limit).value(SITES[0])
    below = [v for v in values if v <= start]
    points = itertools.product(below, repeat=len(SITES))
    candidates = (Candidate.of(dict(zip(SITES, p, strict=True))) for p in points)
    return min(size(c) for c in candidates if made.drop(c) <= limit)


@pytest.mark.parametrize("limit", [0.003, 0.007, 0.012, 0.015, 0.056, 0.07])
def test_a_beam_as_wide_as_the_space_finds_the_best(limit: float):
    made = table(granularities=(Granularity.NETWORK, Granularity.BLOCK))
    limits = Limits(drop=limit)
    strategy = made.strategy("aq4svit-beam", limits, width=100, gate=False, mini_batch=False)
    tested = made.drive(strategy, limits)
    outcome = strategy.outcome()
    assert outcome is not None
    best = next(s.candidate for s, _ in tested if s.candidate.key == outcome["chosen"])
    assert size(best) == smallest_by_brute_force(made, limit)


def test_a_narrow_beam_by_hand():
    """Width 1, gate at a drop of 0.9 points: the ranking is by bytes, of those within the gate."""
    made = table()
    strategy = made.strategy("aq4svit-beam", LIMITS, width=1, mini_batch=False)
    tested = made.drive(strategy, LIMITS)[4:]
    asked = [(bits(s.candidate), s.checks == PROBE) for s, _ in tested]
    assert asked == [
        # Stages: the larger one saves more, and is outside; so is the other one.
        ({"a": 4, "b": 2, "c": 2}, True),
        ({"a": 2, "b": 4, "c": 4}, True),
        # Blocks.
        ({"a": 4, "b": 2, "c": 4}, True),
        ({"a": 4, "b": 4, "c": 2}, True),
        ({"a": 4, "b": 4, "c": 2}, False),
        # From there b alone could go down; that was outside among the stages.
    ]
    outcome = strategy.outcome()
    assert outcome is not None
    assert outcome["chosen"] == Candidate.of({SITES[0]: 4, SITES[1]: 4, SITES[2]: 2}).key
    assert outcome["rejected_by_drift"] == 3


def test_the_beam_ranks_equal_bytes_by_drift_and_goes_down_the_ranking():
    """Two blocks of one size: the one that drifts less is asked; if it fails, the other one."""
    sites = tuple(Site(n, SiteKind.WEIGHT, 32, n, n) for n in ("x", "y", "z"))

    def weigh(candidate: Candidate) -> int:
        return sum(candidate.value(site) for site in sites)

    made = Table(
        sites=sites,
        levels={SiteKind.WEIGHT: (4, 8)},
        losses={"x": {4: 0.008, 8: 0.006}, "y": {4: 0.007, 8: 0.006}, "z": {4: 0.02, 8: 0.0}},
        bytes=weigh,
    )
    strategy = made.strategy("aq4svit-beam", LIMITS, width=1)
    tested = made.drive(strategy, LIMITS)[3:]  # After 32, 8 and 4 bits.
    names = [(sorted(k for _, k, v in s.candidate.choices if v == 4), s.probe) for s, _ in tested]
    # Drift at 8 bits is 0.12, the gate at 0.18: z is outside.
    assert names == [
        (["x"], True),
        (["y"], True),
        (["z"], True),
        (["y"], False),
        (["x", "y"], True),
        (["y", "z"], True),
        (["x", "y"], False),
        (["x", "y", "z"], True),
    ]


def test_without_a_width_that_passes_there_is_no_gate():
    made = table(losses={name: dict.fromkeys((2, 4, 8), 0.02) for name in NUMBERS})
    strategy = made.strategy("aq4svit-greedy", LIMITS)
    tested = made.drive(strategy, LIMITS)
    outcome = strategy.outcome()
    assert outcome is not None
    assert outcome["max_drift"] is None
    assert outcome["chosen"] == Candidate().key and outcome["met"]
    assert len(tested) == 4 + 2 + 2


@pytest.mark.parametrize("name", ["aq4svit-greedy", "aq4svit-beam"])
def test_nothing_but_failures_chooses_nothing(name: str):
    made = table()
    made.failing = {Candidate.of(dict.fromkeys(SITES, b)).key for b in (2, 4, 8, 32)}
    strategy = made.strategy(name, LIMITS)
    assert len(made.drive(strategy, LIMITS)) == 4
    outcome = strategy.outcome()
    assert outcome is not None
    assert (outcome["chosen"], outcome["met"], outcome["finished"]) == (None, False, True)


def test_a_limit_of_bytes_out_of_reach_is_a_miss():
    limits = Limits(drop=0.015, bytes=10)
    made = table()
    strategy = made.strategy("aq4svit-greedy", limits)
    tested = made.drive(strategy, limits)
    outcome = strategy.outcome()
    assert outcome is not None
    # The method comes down all the same, and says which one missed by the least.
    assert chosen(tested, outcome) == {"a": 4, "b": 4, "c": 2}
    assert not outcome["met"] and outcome["finished"]
    full = [e for _, e in tested if e.stage is Stage.FULL]
    assert outcome["nearest_miss"] == min(full, key=lambda e: e.violation).key


def test_a_method_that_was_cut_short_says_so():
    made = table()
    strategy = made.strategy("aq4svit-greedy", LIMITS)
    made.drive(strategy, LIMITS, most=5)
    outcome = strategy.outcome()
    assert outcome is not None
    assert not outcome["finished"] and outcome["met"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("aq4svit-greedy", {"width": 4}, "takes only gate, margin, mini_batch, slack, subset"),
        ("aq4svit-beam", {"width": 0}, "options.width is 0; give a whole number from 1"),
        ("aq4svit-beam", {"width": 1.5}, "options.width is 1.5"),
        ("aq4svit-beam", {"gate": 1}, "options.gate is 1; give true or false"),
        ("aq4svit-greedy", {"slack": 0}, "options.slack is 0; give a number above 0"),
        ("aq4svit-greedy", {"subset": True}, "options.subset is True"),
        ("aq4svit-greedy", {"margin": "x"}, "options.margin is 'x'"),
    ],
)
def test_bad_options_are_refused_when_it_is_built(name: str, options: Any, message: str):
    with pytest.raises(BadInput, match=message):
        table().strategy(name, LIMITS, **options)


def test_it_needs_a_limit_and_bit_widths():
    with pytest.raises(BadInput, match=r"constraints.max_drop \(AQ4SViT: 0.015\)"):
        table().strategy("aq4svit-greedy", Limits())
    tokens = Site("t", SiteKind.TOKEN, 64, "front", "a")
    made = table(sites=(*SITES, tokens), levels={SiteKind.TOKEN: (0.5,)})
    with pytest.raises(BadInput, match=r"space\.levels\.weight"):
        made.strategy("aq4svit-beam", LIMITS)


@pytest.mark.parametrize("name", ["aq4svit-greedy", "aq4svit-beam"])
def test_workers_and_deaths_do_not_show_in_the_ledger(tmp_path: Path, name: str):
    setup = Setup(evaluator=SimulatedEvaluator(max_drop=0.05, failing=0.03), budget=Budget(200))
    context = {"strategies": tuple(STRATEGIES)}
    section = StrategySection.model_validate({"name": name}, context=context)
    digests, outcomes = set(), []
    for number, behaviour in enumerate(
        [{"workers": 1}, {"workers": 2, "seed": 1}, {"workers": 8, "deaths": 0.2, "repeats": 0.2}]
    ):
        strategy = build_strategy(setup.make_task(), section)
        path = tmp_path / f"{number}.ledger"
        run(setup, path, setup.make_backend(**behaviour), strategy)
        digests.add(digest(path))
        outcomes.append(strategy.outcome())
    assert len(digests) == 1
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert outcomes[0] is not None and outcomes[0]["finished"]
