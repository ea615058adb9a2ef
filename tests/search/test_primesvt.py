from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_up_pruning import ACCURACY, FIXED_BYTES, Network, channel, keep, of, spaces

from spikefront.evaluators.evaluation import WHOLE
from spikefront.search.sensitivity_table import write_table
from spikefront.search.strategies.primesvt import PrimeSVT
from spikefront.search.strategies.sensitivity import Sensitivity
from spikefront.spaces import BadInput, Candidate, SiteKind

TWENTIETHS = tuple(round(number / 20, 2) for number in range(1, 19))
NAMES = ("big", "mid", "small", "tiny")
SITES = [channel(name, "b", size) for name, size in zip(NAMES, (80, 60, 40, 20), strict=True)]
SPACES = spaces(SITES, {SiteKind.CHANNEL: keep(TWENTIETHS)})


def bears(rate: float) -> Callable[[float], float]:
    """Nothing is lost up to a rate, and everything beyond."""
    return lambda missing: 0.0 if missing <= rate + 1e-9 else 0.5


def alone(name: str, rate: float) -> Candidate:
    return of(SPACES[-1], {f"b.{name}": rate})


def passes_of(asked: list[Candidate], profile: int) -> list[dict[str, int]]:
    """What the sequential pass asked for: channels by site."""
    return [candidate.to_dict().get("channel", {}) for candidate in asked[1 + profile :]]


def test_largest_group_first_coarse_to_fine():
    loss = {
        "b.big": bears(0.35),
        "b.mid": bears(0.75),
        "b.small": bears(0.05),  # bears less than 10 %: no target
        "b.tiny": bears(0.1),
    }
    network = Network(SPACES, loss)
    strategy = PrimeSVT(network.task, "primesvt")
    asked = network.play(strategy)
    assert asked[0] == Candidate()
    tenths = [number / 10 for number in range(1, 10)]
    profile = [alone(name, rate) for name in NAMES for rate in tenths]
    assert asked[1:37] == profile
    big, mid = [40, 48, 56, 52], [30, 24, 18, 12, 15]
    tiny = [10, 12, 14, 16, 18, 17]
    assert passes_of(asked, 36) == [
        *({"b.big": kept} for kept in big),
        *({"b.big": 52, "b.mid": kept} for kept in mid),
        *({"b.big": 52, "b.mid": 15, "b.tiny": kept} for kept in tiny),
    ]
    assert {suggestion.checks for suggestion in network.asked} == {WHOLE}
    outcome = strategy.outcome()
    expected = of(SPACES[-1], {"b.big": 0.35, "b.mid": 0.75, "b.tiny": 0.1})
    assert outcome["chosen"] == expected.key
    assert outcome["met"] and outcome["finished"] and outcome["nearest_miss"] is None
    rates = {"big": 0.35, "mid": 0.75, "small": 0.0, "tiny": 0.1}
    assert outcome["rates"] == {f"channel:b.{name}": rate for name, rate in rates.items()}
    assert [t["group"] for t in outcome["targets"]] == [
        f"channel:b.{n}" for n in (*NAMES[:2], "tiny")
    ]
    assert [t["parameters"] for t in outcome["targets"]] == [800, 600, 200]
    assert [t["robust_rate"] for t in outcome["targets"]] == [0.3, 0.7, 0.1]


def test_what_earlier_groups_lost_is_gone_for_later_ones():
    """The first takes 70 % at 2.87 of 3 points; 5 % of the next would be 3.08."""
    loss = {f"b.{name}": lambda missing: 0.041 * missing for name in NAMES}
    network = Network(SPACES, loss)
    strategy = PrimeSVT(network.task, "primesvt")
    network.play(strategy)
    outcome = strategy.outcome()
    assert {target["robust_rate"] for target in outcome["targets"]} == {0.2}
    assert [rate for rate in outcome["rates"].values() if rate] == [0.7]
    assert outcome["rates"]["channel:b.big"] == 0.7


def test_robust_drop_decides_who_is_a_target():
    loss = {f"b.{name}": lambda missing: 0.041 * missing for name in NAMES}
    network = Network(SPACES, loss)
    strategy = PrimeSVT(network.task, "primesvt", robust_drop=0.003)
    network.play(strategy)
    outcome = strategy.outcome()
    assert outcome["targets"] == []
    assert outcome["chosen"] == Candidate().key


def test_stops_when_the_memory_limit_is_met():
    """50 to 90 % of the largest group leave 1,000 + 80 + 1,200 bytes of 3,000."""
    network = Network(SPACES, max_bytes=2300)
    strategy = PrimeSVT(network.task, "primesvt")
    assert passes_of(network.play(strategy), 36) == [
        {"b.big": kept} for kept in (40, 32, 24, 16, 8)
    ]
    outcome = strategy.outcome()
    assert outcome["met"] and outcome["finished"]
    assert outcome["rates"]["channel:b.big"] == 0.9


def test_best_effort_where_the_memory_limit_is_out_of_reach():
    loss = {f"b.{name}": bears(0.2) for name in NAMES}
    network = Network(SPACES, loss, max_bytes=FIXED_BYTES)
    strategy = PrimeSVT(network.task, "primesvt")
    network.play(strategy)
    outcome = strategy.outcome()
    best = of(SPACES[-1], {f"b.{name}": 0.2 for name in NAMES})
    assert (outcome["chosen"], outcome["met"], outcome["finished"]) == (best.key, False, True)
    assert outcome["nearest_miss"] == best.key


def test_order_by_benefit():
    """The large group bears 20 % (saving 160 bytes), the middle one 80 % (480)."""
    loss = {"b.big": bears(0.2), "b.mid": bears(0.8), "b.small": bears(0), "b.tiny": bears(0)}
    network = Network(SPACES, loss)
    by_size = PrimeSVT(network.task, "primesvt")
    network.play(by_size)
    by_benefit = PrimeSVT(network.task, "primesvt", order="benefit")
    network.play(by_benefit)
    first, second = (
        [target["group"] for target in strategy.outcome()["targets"]]
        for strategy in (by_size, by_benefit)
    )
    assert first == ["channel:b.big", "channel:b.mid"]
    assert second == first[::-1]
    # (accuracy / the network's) x (bytes saved / the network's), the largest of all rates: beyond
    # what is borne 0.4 of 0.9 is left, times 90 % of a group's bytes.
    total = FIXED_BYTES + 2000
    benefits = [target["benefit"] for target in by_size.outcome()["targets"]]
    kept = (ACCURACY - 0.5) / ACCURACY
    assert benefits == pytest.approx(
        [max(kept * 0.9 * 800, 0.2 * 800) / total, max(0.8 * 600, kept * 0.9 * 600) / total]
    )


def test_failed_evaluations_pass_nothing():
    loss = {f"b.{name}": bears(0.9 if name == "big" else 0) for name in NAMES}
    failing = frozenset({alone("big", 0.7).key})
    network = Network(SPACES, loss, failing=failing)
    strategy = PrimeSVT(network.task, "primesvt")
    network.play(strategy)
    assert strategy.outcome()["rates"]["channel:b.big"] == 0.65
    assert strategy.outcome()["profile"]["channel:b.big"]["0.7"] is None


def test_the_trained_network_may_fail():
    network = Network(SPACES, failing=frozenset({Candidate().key}))
    strategy = PrimeSVT(network.task, "primesvt")
    network.play(strategy)
    assert strategy.outcome()["rates"] == {f"channel:b.{name}": 0.9 for name in NAMES}


def test_levels_unlike_the_papers():
    found = spaces(SITES, {SiteKind.CHANNEL: (0.25, 0.375, 0.625, 0.875)})
    network = Network(found, {f"b.{name}": bears(0.4) for name in NAMES})
    strategy = PrimeSVT(network.task, "primesvt")
    network.play(strategy)
    outcome = strategy.outcome()
    assert set(outcome["profile"]["channel:b.big"]) == {"0.125", "0.375", "0.625", "0.75"}
    assert set(outcome["rates"].values()) == {0.375}


def test_a_table_of_all_levels_saves_the_whole_profile(tmp_path: Path):
    network = Network(SPACES, {"b.mid": bears(0.4)})
    matrix = Sensitivity(network.task, "full")
    network.play(matrix)
    path = tmp_path / "sensitivity.parquet"
    write_table(path, matrix.table())
    measured, read = (PrimeSVT(network.task, "primesvt", sensitivity=p) for p in (None, str(path)))
    assert len(network.play(measured)) == len(network.play(read)) + 36
    assert measured.outcome()["chosen"] == read.outcome()["chosen"]
    assert measured.outcome()["profile"] == read.outcome()["profile"]


def test_a_table_of_probes_saves_nothing(tmp_path: Path):
    network = Network(SPACES, {"b.mid": bears(0.4)})
    matrix = Sensitivity(network.task)
    network.play(matrix)
    path = tmp_path / "sensitivity.parquet"
    write_table(path, matrix.table())
    measured, read = (PrimeSVT(network.task, "primesvt", sensitivity=p) for p in (None, str(path)))
    assert network.play(measured) == network.play(read)


def test_wrong_options_are_refused():
    task = Network(SPACES).task
    with pytest.raises(BadInput, match=r"unknown order of strategy 'primesvt' 'sizes'\. Did you"):
        PrimeSVT(task, "primesvt", order="sizes")
    with pytest.raises(BadInput, match=r"options\.robust_drop is -1"):
        PrimeSVT(task, "primesvt", robust_drop=-1)
    with pytest.raises(BadInput, match=r"set constraints\.max_drop \(PrimeSVT: 0\.03\)"):
        PrimeSVT(Network(SPACES, max_drop=None).task, "primesvt")
