from __future__ import annotations

from pathlib import Path

import pytest
from made_up_pruning import RATES, Network, channel, keep, of, spaces

from spikefront.evaluators.evaluation import WHOLE
from spikefront.search.sensitivity_table import write_table
from spikefront.search.strategies.psvit import PSViT
from spikefront.search.strategies.sensitivity import Sensitivity
from spikefront.spaces import BadInput, Candidate, Granularity, SiteKind

WEAK, MIDDLE, HIGH = "block.1.hidden", "block.2.hidden", "block.0.hidden"
SITES = [channel("hidden", f"block.{number}") for number in range(3)]
SPACES = spaces(SITES, {SiteKind.CHANNEL: keep(RATES)})
LINEAR = {WEAK: lambda x: 0.01 * x, MIDDLE: lambda x: 0.04 * x, HIGH: lambda x: 0.1 * x}


def setting(weak: float, middle: float, high: float) -> Candidate:
    return of(SPACES[-1], {WEAK: weak, MIDDLE: middle, HIGH: high})


def names(*sites: str) -> list[str]:
    return [site.removesuffix(".hidden") for site in sites]


def test_raises_the_weak_third_and_pays_with_the_high_one():
    """Drops in points: 0.1, 0.4 and 1.0 per 10 % of the three blocks; the limit is 3.15.

    Uniform: 20 % costs 3.0 and 30 % costs 4.5. From there the weak block: 30 % 3.1, 40 % 3.2 is
    too much; with the high block down to 10 % it costs 2.2, then 50 % 2.3.
    """
    network = Network(SPACES, LINEAR, max_drop=0.0315)
    strategy = PSViT(network.task, "psvit")
    asked = network.play(strategy)
    uniform = [setting(rate, rate, rate) for rate in (0.0, *RATES)]
    alone = [of(SPACES[-1], {site.name: rate}) for site in SITES for rate in RATES]
    assert asked[:6] == uniform
    assert sorted(asked[6:21], key=str) == sorted(alone, key=str)
    assert asked[21:] == [
        setting(0.3, 0.2, 0.2),
        setting(0.4, 0.2, 0.2),
        setting(0.4, 0.2, 0.1),
        setting(0.5, 0.2, 0.1),
    ]
    assert {suggestion.checks for suggestion in network.asked} == {WHOLE}
    outcome = strategy.outcome()
    assert outcome["chosen"] == setting(0.5, 0.2, 0.1).key
    assert outcome["met"] and outcome["finished"] and outcome["nearest_miss"] is None
    assert outcome["uniform_rate"] == 0.2
    assert outcome["weakly_sensitive"] == names(WEAK)
    assert outcome["highly_sensitive"] == names(HIGH)
    assert outcome["sensitivity"] == pytest.approx(
        {"block.0": 0.03, "block.1": 0.003, "block.2": 0.012}
    )
    assert outcome["rates"] == {
        f"channel:{n}": r for n, r in zip((HIGH, WEAK, MIDDLE), (0.1, 0.5, 0.2), strict=True)
    }


def test_ends_where_the_limit_stays_broken():
    """At 50 % the weak block alone costs 5 points: not even whole high blocks make up for it."""
    cliff = {**LINEAR, WEAK: lambda x: 0.05 if x > 0.45 else 0.0}
    network = Network(SPACES, cliff, max_drop=0.0315)
    strategy = PSViT(network.task, "psvit")
    assert network.play(strategy)[21:] == [
        setting(0.3, 0.2, 0.2),
        setting(0.4, 0.2, 0.2),
        setting(0.5, 0.2, 0.2),
        setting(0.5, 0.2, 0.1),
        setting(0.5, 0.2, 0.0),
    ]
    assert strategy.outcome()["chosen"] == setting(0.4, 0.2, 0.2).key


def test_chooses_the_smallest_even_if_a_later_one_passes_too():
    """The high block is so large that paying with it costs more bytes than the weak one saves."""
    network = Network(SPACES, LINEAR, weight={HIGH: 200}, max_drop=0.0315)
    strategy = PSViT(network.task, "psvit")
    assert network.play(strategy)[-1] == setting(0.5, 0.2, 0.1)
    assert strategy.outcome()["chosen"] == setting(0.3, 0.2, 0.2).key


def test_a_group_alone_is_no_choice():
    """Only groups alone pass, and 10 % of the high one would be smaller than the network."""
    cliffs = {site.name: lambda x: 0.02 * (x > 0) + 0.4 * (x > 0.15) for site in SITES}
    cliffs[WEAK] = lambda x: 0.3 * (x > 0)
    network = Network(SPACES, cliffs, max_drop=0.03)
    strategy = PSViT(network.task, "psvit")
    asked = network.play(strategy)
    outcome = strategy.outcome()
    assert network.drop(of(SPACES[-1], {HIGH: 0.1})) < 0.03
    assert asked[-1] == setting(0.1, 0, 0)
    assert (outcome["uniform_rate"], outcome["chosen"]) == (0, Candidate().key)


def test_failed_evaluations_pass_nothing_and_count_as_total_loss():
    failing = {setting(0.2, 0.2, 0.2).key, of(SPACES[-1], {WEAK: 0.1}).key}
    network = Network(SPACES, LINEAR, max_drop=0.0315, failing=frozenset(failing))
    strategy = PSViT(network.task, "psvit")
    network.play(strategy)
    outcome = strategy.outcome()
    assert outcome["uniform_rate"] == 0.1
    assert outcome["profile"]["channel:" + WEAK]["0.1"] is None
    assert outcome["weakly_sensitive"] == names(MIDDLE)
    assert outcome["highly_sensitive"] == names(WEAK)


def test_unfinished_reports_the_best_so_far():
    network = Network(SPACES, LINEAR, max_drop=0.0315)
    strategy = PSViT(network.task, "psvit")
    network.play(strategy, most=10)
    outcome = strategy.outcome()
    assert not outcome["finished"]
    assert outcome["chosen"] == setting(0.2, 0.2, 0.2).key
    assert outcome["sensitivity"] is None


def test_a_memory_limit_that_is_missed_is_said():
    network = Network(SPACES, LINEAR, max_drop=0.0315, max_bytes=1500)
    strategy = PSViT(network.task, "psvit")
    network.play(strategy)
    outcome = strategy.outcome()
    assert outcome["chosen"] == setting(0.5, 0.2, 0.1).key
    assert not outcome["met"]
    tried = {*(setting(r, r, r).key for r in RATES), setting(0.5, 0.2, 0.1).key}
    assert outcome["nearest_miss"] in tried


def test_blocks_of_several_groups_and_merged_widths():
    """A group of two channels knows 0 and 50 % alone; every rate of the grid counts once."""
    sites = [channel("hidden", "block.0"), channel("attn.qk", "block.0", 2), channel("hidden", "b")]
    found = spaces(sites, {SiteKind.CHANNEL: keep(RATES)})
    network = Network(found, {"block.0.attn.qk": lambda x: 0.1 * x})
    strategy = PSViT(network.task, "psvit")
    network.play(strategy)
    # One of two channels: kept from 0.5 on is 2 of 2 at 0.8 and 0.9, so 1 of 2 at three rates.
    expected = {"block.0": 0.1 * 0.5 * 3 / 5, "b": 0.0}
    assert strategy.outcome()["sensitivity"] == pytest.approx(expected)


def test_one_block_is_pruned_uniformly_and_no_further():
    found = spaces([channel("hidden", "block.0")], {SiteKind.CHANNEL: keep(RATES)})
    network = Network(found, {"block.0.hidden": lambda x: 0.1 * x}, max_drop=0.025)
    strategy = PSViT(network.task, "psvit")
    network.play(strategy)
    assert strategy.finished
    assert strategy.outcome()["rates"] == {"channel:block.0.hidden": 0.2}


def test_other_granularities():
    for granularity in (Granularity.NETWORK, Granularity.STAGE, Granularity.BLOCK):
        found = spaces(SITES, {SiteKind.CHANNEL: (0.25, 0.6)}, granularity)
        network = Network(found, LINEAR, max_drop=0.08)
        strategy = PSViT(network.task, "psvit")
        network.play(strategy)
        outcome = strategy.outcome()
        assert outcome["met"] and outcome["finished"]
        assert outcome["uniform_rate"] == 0.4


def full_table(network: Network, folder: Path) -> str:
    strategy = Sensitivity(network.task, "full")
    network.play(strategy)
    write_table(folder / "sensitivity.parquet", strategy.table())
    network.asked.clear()
    return str(folder)


def test_a_sensitivity_table_saves_the_profile(tmp_path: Path):
    network = Network(SPACES, LINEAR, max_drop=0.0315)
    measured = PSViT(network.task, "psvit")
    network.play(measured)
    path = full_table(network, tmp_path)
    read = PSViT(network.task, "psvit", sensitivity=path)
    asked = network.play(read)
    assert len(asked) == 6 + 4
    counts = ("full_evaluations", "image_evaluations")
    outcomes = [dict(strategy.outcome()) for strategy in (measured, read)]
    for outcome in outcomes:
        for name in counts:
            del outcome[name]
    assert outcomes[0] == outcomes[1]
    assert read.table().equals(measured.table())


def test_needs_a_limit_and_channels():
    network = Network(SPACES, LINEAR, max_drop=None)
    with pytest.raises(BadInput, match=r"set constraints\.max_drop \(PSViT: 0\.03\)"):
        PSViT(network.task, "psvit")
    with pytest.raises(BadInput, match=r"options\.sensitivity is 3; give a path"):
        PSViT(Network(SPACES, LINEAR).task, "psvit", sensitivity=3)


def test_only_blocks_are_pruned_unless_all_are_asked_for():
    names = ("proj_conv.out", "attn.qk", "attn.v", "attn.q.middle", "conv.middle", "mlp.hidden")
    sites = [channel(name, "block.0") for name in names] + [channel("hidden", "ConvBlock1_1.0")]
    found = spaces(sites, {SiteKind.CHANNEL: (0.5,)})
    pruned = {
        groups: Network(found).play(PSViT(Network(found).task, "psvit", groups))[1].to_dict()
        for groups in ("blocks", "all")
    }
    blocks = {"block.0.attn.qk", "block.0.attn.v", "block.0.mlp.hidden", "ConvBlock1_1.0.hidden"}
    assert set(pruned["blocks"]["channel"]) == blocks
    assert set(pruned["all"]["channel"]) == {site.name for site in sites}
    with pytest.raises(BadInput, match=r"unknown groups of strategy 'psvit' 'block'\. Did you"):
        PSViT(Network(found).task, "psvit", "block")


def test_blocks_tied_to_a_stem_are_refused():
    sites = [channel("proj_conv.out", "patch_embed"), channel("mlp.hidden", "block.0")]
    found = spaces(sites, {SiteKind.CHANNEL: (0.5,)}, Granularity.NETWORK)
    with pytest.raises(BadInput, match="inside blocks and found no axis of these alone; give a"):
        PSViT(Network(found).task, "psvit")
    assert PSViT(Network(found).task, "psvit", "all").suggest(0) is not None
