"""TP-Spikformer: released schedules, schedules by hand, and the search for one."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from made_up_method import Table
from simulated import SimulatedEvaluator
from simulated_search import Setup, digest, run

from spikefront.evaluators.evaluation import WHOLE
from spikefront.search.config_sections import StrategySection
from spikefront.search.controller import Budget
from spikefront.search.strategies import STRATEGIES, Limits, build_strategy
from spikefront.search.strategies.tp_spikformer import schedule_family
from spikefront.spaces import BadInput, Candidate, Granularity, Site, SiteKind, Space

LEVELS = {SiteKind.TOKEN: (0.25, 0.5, 0.75)}
LIMITS = Limits(drop=0.015)


def token_sites(blocks: int, tokens: int = 64) -> tuple[Site, ...]:
    names = [f"block.{number}" for number in range(blocks)]
    return tuple(Site(name, SiteKind.TOKEN, tokens, "encoder", name) for name in names)


def made_up(blocks: int, losses: dict[int, float], tokens: int = 64) -> Table:
    """Each block loses the same by the same; its MACs are its tokens."""
    sites = token_sites(blocks, tokens)

    def macs(candidate: Candidate) -> int:
        return sum(candidate.values(sites).values())

    return Table(
        sites=sites,
        levels=LEVELS,
        losses={site.name: losses for site in sites},
        bytes=lambda candidate: 1000,
        macs=macs,
        granularities=(Granularity.NETWORK, Granularity.LAYER),
    )


def tokens_of(made: Table, candidate: Candidate) -> tuple[int, ...]:
    return tuple(candidate.values(made.sites).values())


@pytest.mark.parametrize(("blocks", "tokens"), [(1, 64), (2, 64), (3, 16), (8, 16), (3, 5)])
def test_the_family_falls_with_depth_and_from_one_to_the_next(blocks: int, tokens: int):
    levels = {SiteKind.TOKEN: tuple(n / 20 for n in range(6, 21))}
    space = Space.build(token_sites(blocks, tokens), Granularity.LAYER, levels)
    family = schedule_family(space.axes)
    assert family[0] == tuple(len(axis.levels) - 1 for axis in space.axes)
    assert family[-1] == (0,) * blocks
    assert len(set(family)) == len(family)
    for levels_of in family:
        assert all(a >= b for a, b in itertools.pairwise(levels_of))
    for before, after in itertools.pairwise(family):
        assert all(a >= b for a, b in zip(before, after, strict=True))


def test_the_family_by_hand():
    space = Space.build(token_sites(2), Granularity.LAYER, LEVELS)
    # Levels 0 to 3; the last block falls twice as fast, a tie goes to more tokens.
    assert schedule_family(space.axes) == [(3, 3), (3, 2), (2, 1), (2, 0), (1, 0), (0, 0)]


def test_the_search_by_hand():
    """0.75 loses 0.2 points, 0.5 loses 0.7, 0.25 loses 2; limit 1.5."""
    made = made_up(2, {48: 0.002, 32: 0.007, 16: 0.02})
    strategy = made.strategy("tp-spikformer", LIMITS)
    tested = made.drive(strategy, LIMITS)
    assert {s.checks for s, _ in tested} == {WHOLE}
    assert [tokens_of(made, s.candidate) for s, _ in tested] == [
        (64, 64),
        (16, 16),
        # Family of six: its third, then its fourth.
        (48, 32),
        (48, 16),
        # Refinement: the last block first among equals, then the one before it, until the next
        # step would rise with depth.
        (48, 16),
        (32, 32),
    ]
    outcome = strategy.outcome()
    assert outcome is not None
    best = next(s.candidate for s, _ in tested if s.candidate.key == outcome["chosen"])
    assert tokens_of(made, best) == (32, 32)
    assert outcome["tokens"] == {"block.0": 32, "block.1": 32}
    assert outcome["retention"] == outcome["retention_nominal"] == outcome["macs_ratio"] == 0.5
    assert outcome["met"] and outcome["finished"]


@pytest.mark.parametrize("limit", [0.001, 0.004, 0.015, 0.03, 0.05, 0.09])
@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_no_step_down_from_what_it_chooses_passes(blocks: int, limit: float):
    made = made_up(blocks, {48: 0.002, 32: 0.007, 16: 0.02})
    limits = Limits(drop=limit)
    strategy = made.strategy("tp-spikformer", limits)
    tested = made.drive(strategy, limits)
    outcome = strategy.outcome()
    assert outcome is not None and outcome["met"]
    found = tokens_of(
        made, next(s.candidate for s, _ in tested if s.candidate.key == outcome["chosen"])
    )
    assert list(found) == sorted(found, reverse=True)
    for block in range(blocks):
        lowered = (*found[:block], found[block] - 16, *found[block + 1 :])
        if lowered[block] > 0 and list(lowered) == sorted(lowered, reverse=True):
            candidate = Candidate.of(dict(zip(made.sites, lowered, strict=True)))
            assert made.drop(candidate) > limit
    if blocks == 1:
        passing = [v for v in (16, 32, 48, 64) if made.losses["block.0"].get(v, 0.0) <= limit]
        assert found == (min(passing),)


def test_failures_are_no_passes():
    made = made_up(2, {48: 0.002, 32: 0.007, 16: 0.02})
    made.failing = {Candidate.of(dict.fromkeys(made.sites, 32)).key}
    strategy = made.strategy("tp-spikformer", LIMITS)
    made.drive(strategy, LIMITS)
    outcome = strategy.outcome()
    assert outcome is not None
    assert outcome["tokens"] == {"block.0": 48, "block.1": 32}
    made.failing = {Candidate().key}
    strategy = made.strategy("tp-spikformer", LIMITS)
    assert len(made.drive(strategy, LIMITS)) == 2
    outcome = strategy.outcome()
    assert outcome is not None and outcome["chosen"] is None and outcome["nearest_miss"] is not None


def test_ratios_by_hand_and_a_miss():
    made = made_up(2, {48: 0.002, 32: 0.007, 20: 0.02})
    strategy = made.strategy("tp-spikformer", LIMITS, ratios=[0.75, 0.3])
    tested = made.drive(strategy, LIMITS)
    # 0.3 of 64 is 19.2 tokens.
    assert [tokens_of(made, s.candidate) for s, _ in tested] == [(64, 64), (48, 19)]
    outcome = strategy.outcome()
    assert outcome is not None and outcome["met"]
    assert outcome["retention_nominal"] == pytest.approx(0.525)
    assert outcome["retention"] == pytest.approx((48 + 19) / 128)
    strategy = made.strategy("tp-spikformer", Limits(drop=0.001), ratios=[0.75, 0.3])
    tested = made.drive(strategy, Limits(drop=0.001))
    outcome = strategy.outcome()
    assert outcome is not None
    assert (outcome["chosen"], outcome["met"]) == (None, False)
    assert outcome["nearest_miss"] == tested[1][0].candidate.key


def test_a_released_schedule_by_its_sides():
    made = made_up(8, {}, tokens=196)
    strategy = made.strategy("tp-spikformer", Limits(), schedule="sdt-v1-0.520")
    tested = made.drive(strategy, Limits())
    expected = tuple(side**2 for side in (12, 12, 10, 10, 10, 10, 8, 8))
    assert tokens_of(made, tested[1][0].candidate) == expected
    outcome = strategy.outcome()
    assert outcome is not None
    assert outcome["retention"] == pytest.approx(0.5204, abs=1e-4)
    assert outcome["retention_nominal"] == pytest.approx(outcome["retention"])
    made = made_up(8, {}, tokens=16)
    strategy = made.strategy("tp-spikformer", Limits(), schedule="sdt-v3-0.570")
    tested = made.drive(strategy, Limits())
    # int() of 0.9, 0.8, 0.75 and 0.65 times 4.
    assert tokens_of(made, tested[1][0].candidate) == (9, 9, 9, 9, 9, 4, 4, 4)
    outcome = strategy.outcome()
    assert outcome is not None
    assert outcome["retention"] == pytest.approx(57 / 128)
    assert outcome["retention_nominal"] == pytest.approx(0.57, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "sdt-v1-0.520"}, "made for 8 blocks; this network has 2"),
        ({"schedule": "sdt-v1-0.5"}, "unknown token schedule 'sdt-v1-0.5'"),
        ({"ratios": [0.5]}, "give 2 shares above 0"),
        ({"ratios": [0.5, 1.5]}, "give 2 shares above 0"),
        ({"ratios": 0.5}, "give 2 shares above 0"),
        ({"ratios": [True, 0.5]}, "give 2 shares above 0"),
        ({"ratios": [0.5, 0.5], "schedule": "sdt-v1-0.520"}, "not both"),
        ({"retention": 0.5}, "takes only ratios, schedule"),
    ],
)
def test_bad_options_are_refused_when_it_is_built(options: Any, message: str):
    with pytest.raises(BadInput, match=message):
        made_up(2, {}).strategy("tp-spikformer", LIMITS, **options)


def test_the_search_needs_a_limit_and_tokens():
    with pytest.raises(BadInput, match=r"constraints\.max_drop"):
        made_up(2, {}).strategy("tp-spikformer", Limits())
    made = made_up(2, {})
    made.levels = {SiteKind.WEIGHT: (2,)}
    made.sites = (*made.sites, Site("w", SiteKind.WEIGHT, 32, "encoder", "block.0"))
    with pytest.raises(BadInput, match=r"space\.levels\.token"):
        made.strategy("tp-spikformer", LIMITS)


def test_workers_and_deaths_do_not_show_in_the_ledger(tmp_path: Path):
    setup = Setup(evaluator=SimulatedEvaluator(max_drop=0.02), budget=Budget(200))
    context = {"strategies": tuple(STRATEGIES)}
    section = StrategySection.model_validate({"name": "tp-spikformer"}, context=context)
    digests = set()
    for number, behaviour in enumerate([{"workers": 1}, {"workers": 8, "deaths": 0.2}]):
        strategy = build_strategy(setup.make_task(), section)
        path = tmp_path / f"{number}.ledger"
        run(setup, path, setup.make_backend(**behaviour), strategy)
        digests.add(digest(path))
    assert len(digests) == 1
