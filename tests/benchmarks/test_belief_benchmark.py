from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.belief import errors, main, measured
from benchmarks.belief_page import page
from spikefront.evaluators.evaluation import Evaluation, Stage, State
from spikefront.search.ledger import Ledger
from spikefront.spaces import Candidate


def test_fair_ones_are_audited_or_were_checked_and_others_measured_in_full(tmp_path: Path) -> None:
    measures = {"drop": 0.02, "kl": 0.1, "cross_entropy": 0.7}
    full = [
        Evaluation(Candidate((("weight", "layer", bits),)), State.COMPLETE, Stage.FULL, measures)
        for bits in (2, 3, 4)
    ]
    early = Evaluation(Candidate(), State.REJECTED, Stage.SUBSET, {"drop": 0.1, "kl": 0.2})
    given = [(full[0], None), (replace(full[1], audited=True), None), (full[2], {}), (early, None)]
    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path, {"fingerprints": {}}) as ledger:
        for index, (evaluation, checks) in enumerate(given):
            ledger.append({"event": "suggested", "index": index, "checks": checks})
            record = {"index": index, "evaluation": evaluation.to_dict()}
            ledger.append({"event": "evaluated", **record})
    evaluations, fair = measured(path)
    assert [e.key for e in evaluations] == [e.key for e in full]
    assert fair == [False, True, True]


def test_errors_of_made_up_rows() -> None:
    """Cross-entropy is a line of the truth; the measured drop is a point too low."""
    rng = random.Random(0)
    rows = []
    for _ in range(30):
        drop = rng.uniform(0, 0.04)
        entropy, noise = 0.7 + 3 * drop, rng.random()
        row = {"test": drop, "drop": drop - 0.01, "cross_entropy": entropy, "kl": noise}
        rows.append({**row, "believed": drop + 0.002})
    found = errors(rows)
    assert found["cross_entropy"]["deviation"] == pytest.approx(0, abs=1e-12)
    assert found["drop"]["bias"] == pytest.approx(-0.01)
    assert found["believed"]["bias"] == pytest.approx(0.002)
    assert found["kl"]["deviation"] > 0.008
    assert found["drop"]["correlation"] == pytest.approx(1)


def test_a_folder_without_a_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "nothing"), "--results", str(tmp_path)])
    assert stopped.value.code == 2
    assert "give the ledger of an existing run" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_page_is_the_record() -> None:
    root = Path(__file__).parents[2]
    record = json.loads((root / "benchmarks" / "results" / "belief.json").read_text())
    text = page(record)
    assert (root / "docs" / "belief-results.md").read_text() == text
    for run in {row["run"] for row in record["rows"]}:
        own = [row for row in record["rows"] if row["run"] == run]
        figure = errors(own)["believed"]["bias"]
        assert f"| {run} | {len(own)} | what `joint` believes |" in text
        assert f"| {100 * figure:+.2f} |" in text
