"""The passes of the benchmark of prefix reuse; no time is checked."""

from __future__ import annotations

import pytest

from benchmarks.prefix import LARGEST_DROP, RATES, WIDTHS, Choice, aq4svit, primesvt, summarise
from spikefront.spaces.site import SiteKind
from spikefront.svtmodels.checkpoint import load_checkpoint
from spikefront.svtmodels.zoo import zoo_path

NETWORK = load_checkpoint(zoo_path("spikformer-digits"))
GROUPS = [site for site in NETWORK.sites if site.kind is SiteKind.CHANNEL]
WEIGHTS = [site for site in NETWORK.sites if site.kind is SiteKind.WEIGHT]


def test_without_any_loss_both_go_as_low_as_they_can() -> None:
    narrow = {site: site.value_at(RATES[-1]) for site in GROUPS}
    assert primesvt(NETWORK, lambda _: 0.0) == narrow
    assert aq4svit(NETWORK, lambda _: 0.0) == dict.fromkeys(WEIGHTS, WIDTHS[-1])


def test_whatever_loses_too_much_stays_out() -> None:
    assert primesvt(NETWORK, lambda _: 1.0) == {}
    assert aq4svit(NETWORK, lambda _: 1.0) == dict.fromkeys(WEIGHTS, WIDTHS[0])


def test_layers_are_narrowed_one_after_the_other_within_one_budget() -> None:
    asked: list[Choice] = []

    def judge(choice: Choice) -> float:
        asked.append(choice)
        return 0.4 * LARGEST_DROP * len(choice)

    assert len(primesvt(NETWORK, judge)) == 2
    alone = len(GROUPS) * len(RATES)
    assert all(len(choice) == 1 for choice in asked[:alone])
    assert max(len(choice) for choice in asked[alone:]) == 3


def test_the_summary_names_each_pass() -> None:
    rows = [{"network": "a", "pass": "b", "ratio": 2.0}]
    assert summarise(rows, 1800.0) == {"a, b": 2.0, "hours": pytest.approx(0.5)}
