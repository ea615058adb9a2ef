from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from benchmarks import gates
from benchmarks.gates_page import page
from spikefront.search.drop_fit import SIGNALS
from spikefront.spaces import Granularity, SiteKind
from spikefront.svtmodels.checkpoint import load_checkpoint
from spikefront.svtmodels.zoo import zoo_path


def test_candidates_are_points_of_the_space_with_few_bits_everywhere():
    network = load_checkpoint(zoo_path("spikformer-digits"))
    space = network.space(Granularity.LAYER, gates.LEVELS)
    rng = random.Random(0)
    candidates = [gates.drawn(space, rng) for _ in range(20)]
    assert len({candidate.key for candidate in candidates}) == 20
    for candidate in candidates:
        bits = candidate.to_dict()["weight"].values()
        assert set(bits) <= {2, 3, 4, 5, 6, 8}
        assert max(bits) - min(bits) <= 3
    weights = [site for site in network.sites if site.kind is SiteKind.WEIGHT]
    assert all(len(c.to_dict()["weight"]) == len(weights) for c in candidates)


def test_ranks_of_made_up_rows():
    """One signal says all, one the contrary; the model finds out which to trust."""
    rng = random.Random(0)
    rows = []
    for _ in range(40):
        drop = rng.uniform(0, 0.2)
        signals = {name: rng.random() for name in SIGNALS}
        rows.append({**signals, "kl": 2 * drop, "drift": 1 - drop, "drop": drop})
    found = gates.ranks(rows)
    assert found["kl"] == {"all": pytest.approx(1), "near": pytest.approx(1)}
    assert found["drift"]["all"] == pytest.approx(-1)
    assert found["model"]["all"] == pytest.approx(1, abs=0.02)
    assert abs(found["flips"]["all"] or 0) < 0.5


def test_the_page_is_the_record():
    root = Path(__file__).parents[2]
    record = json.loads((root / "benchmarks" / "results" / "gates.json").read_text())
    assert (root / "docs" / "gates-results.md").read_text() == page(record)
