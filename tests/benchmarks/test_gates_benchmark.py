from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from benchmarks import gates
from benchmarks.gates_ahead import CLOSE, ENOUGH, FIRST, ahead, foresight, searched
from benchmarks.gates_page import page
from spikefront.evaluators.evaluation import Evaluation, Stage, State
from spikefront.search.drop_fit import SIGNALS, DropSample, fit_line
from spikefront.search.ledger import Ledger
from spikefront.spaces import Candidate, Granularity, SiteKind
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
        known = {**signals, "kl": 2 * drop, "drift": 1 - drop, "drop": drop}
        rows.append({**known, "layers": {}, "n_search": 100})
    found = gates.ranks(rows)
    assert found["kl"] == {"all": pytest.approx(1), "near": pytest.approx(1)}
    assert found["drift"]["all"] == pytest.approx(-1)
    assert found["model"]["all"] == pytest.approx(1, abs=0.02)
    assert abs(found["flips"]["all"] or 0) < 0.5


def samples(count: int, seed: int = 0) -> list[DropSample]:
    """One layer tells the drop, divergence half of it."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        layers = {"a": rng.random(), "b": rng.random()}
        signals = {name: rng.random() for name in SIGNALS} | {"kl": layers["a"]}
        found.append(DropSample(signals, layers, 0.05 * (layers["a"] + layers["b"]), 1.0))
    return found


def test_ahead_knows_what_was_measured_before_and_nothing_else():
    known = samples(40)
    found = ahead(known)
    assert len(found) == 40 - FIRST
    for number in (FIRST, 25, 39):
        expected = fit_line(known[:number]).predict(known[number].known)
        assert found[number - FIRST] == expected
    changed = [*known[:30], *samples(10, seed=1)]
    assert ahead(changed)[: 30 - FIRST] == found[: 30 - FIRST]


def test_foresight_with_and_without_layers():
    known = samples(120)
    found = foresight(known)
    drops = [sample.drop for sample in known[FIRST:]]
    for line, given in {
        "signals": [replace(sample, layers={}) for sample in known],
        "layers": known,
    }.items():
        predicted = ahead(given)
        close = [n for n, drop in enumerate(drops) if drop < CLOSE]
        assert 0 < len(close) < len(drops)
        errors = [abs(predicted[n] - drops[n]) for n in close]
        assert found[line]["error"] == pytest.approx(sum(errors) / len(errors))
        everywhere = float(spearmanr(predicted, drops).statistic)  # pyright: ignore
        assert found[line]["all"] == pytest.approx(everywhere)
        near = spearmanr([predicted[n] for n in close], [drops[n] for n in close])
        assert found[line]["close"] == pytest.approx(float(near.statistic))  # pyright: ignore
    assert (found["layers"]["all"] or 0) > (found["signals"]["all"] or 0)


def test_searches_are_read_from_their_ledgers(tmp_path: Path):
    candidate = Candidate((("weight", "layer", 2),))
    measures = dict.fromkeys(SIGNALS, 0.1) | {"drop": 0.02, "n_search": 50}
    full = Evaluation(candidate, State.COMPLETE, Stage.FULL, measures, {"a": 0.3})
    rejected = replace(full, measures={"drift": 0.5, "flips": 0.1}, stage=Stage.DRIFT)
    for name, count in (("long", ENOUGH), ("short", ENOUGH - 1)):
        (tmp_path / name).mkdir()
        with Ledger.create(tmp_path / name / "ledger.jsonl", {"fingerprints": {}}) as ledger:
            for evaluation in [rejected, *[full] * count, rejected]:
                ledger.append({"event": "suggested", "index": 0})
                ledger.append({"event": "evaluated", "evaluation": evaluation.to_dict()})
    found = searched(tmp_path)
    assert list(found) == ["long"]
    assert found["long"] == [DropSample(measures, {"a": 0.3}, 0.02, 50)] * ENOUGH


def test_the_page_says_what_the_layers_change():
    root = Path(__file__).parents[2]
    record = json.loads((root / "benchmarks" / "results" / "gates.json").read_text())
    kept = [row for row in record["rows"] if row["part"] == "candidate"]
    worse = {"all": 0.5, "close": 0.25, "error": 0.02}
    better = {"all": 0.75, "close": None, "error": 0.01}
    rows = [
        {"part": "ahead", "source": "a, drawn", "measured": 40, "signals": worse, "layers": better},
        {
            "part": "ahead",
            "source": "b, searched",
            "measured": 9,
            "signals": worse,
            "layers": worse,
        },
    ]
    text = page({**record, "rows": [*kept, *rows]})
    assert "| `a`, drawn | 40 | 0.500 / 0.750 | 0.250 / - | 2.000 / 1.000 |" in text
    assert "| `b`, searched | 9 | 0.500 / 0.500 | 0.250 / 0.250 | 2.000 / 2.000 |" in text
    assert "Over these 2 rows" in text
    assert "by +0.000" in text
    assert "by -0.500 points" in text


def test_the_page_is_the_record():
    root = Path(__file__).parents[2]
    record = json.loads((root / "benchmarks" / "results" / "gates.json").read_text())
    assert (root / "docs" / "gates-results.md").read_text() == page(record)
