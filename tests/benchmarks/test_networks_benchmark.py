"""The machinery of the benchmark of networks, on tiny ones; no time is checked."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch

from benchmarks import pairing
from benchmarks.matching import CASES, Case, check_match
from benchmarks.matching import _qkformer as qkformer
from benchmarks.matching import _sdt_v1 as sdt_v1
from benchmarks.matching import _spikformer as spikformer
from benchmarks.networks import measure, show, summarise
from benchmarks.record import write_record
from spikefront.spaces.errors import RunFailed

TINY = (
    spikformer("small", 16, 2, 1, 2, 2),
    sdt_v1("small", 16, 2, 1, 2, 2),
    qkformer("small", 16, 2, 2, 2),
)


@pytest.mark.parametrize("case", TINY, ids=[case.name for case in TINY])
@torch.inference_mode()
def test_both_sides_are_the_same_network(case: Case) -> None:
    ours, theirs = case.network(), case.other()
    assert theirs is not None
    images = torch.rand(case.batch, *ours.input_shape)
    check_match(case, ours, theirs, images)
    deeper = {**case.arguments, "depths": case.arguments["depths"] + 1}
    shorter = {**case.arguments, "T": 1}
    for arguments, what in ((deeper, "weights"), (shorter, "spikes")):
        with pytest.raises(RunFailed, match=f"differ in .*{what}"):
            check_match(case, replace(case, arguments=arguments).network(), theirs, images)


def test_every_family_is_timed_at_both_sizes() -> None:
    families = {"Spikformer", "SDT-v1", "SDT-v2", "SDT-v3", "QKFormer"}
    sizes = {(case.name, case.size) for case in CASES}
    assert sizes == {(name, size) for name in families for size in ("small", "mid")}
    with torch.device("meta"):
        assert all(case.network().classes == 10 for case in CASES)


def test_rows_table_and_record(tmp_path: Path) -> None:
    rows = [measure(TINY[0], 2), measure(replace(TINY[1], counterpart=None), 2)]
    assert rows[0]["times_faster_quartiles"][0] <= rows[0]["times_faster"]
    assert "times_faster" not in rows[1]
    assert [row["images_per_second"] > 0 for row in rows] == [True, True]
    lines = show(rows).splitlines()
    assert lines[2].startswith("Spikformer") and lines[3].split()[-2:] == ["-", "-"]
    path = write_record("networks", rows, summarise(rows, 3600.0), tmp_path / "results")
    record = json.loads(path.read_text())
    assert list(record) == [
        "name",
        "command",
        "machine",
        "versions",
        "date",
        "rows",
        "summary",
    ]
    assert record["command"] == "make bench-networks"
    assert record["rows"] == rows
    assert record["summary"]["hours"] == 1.0
    assert record["summary"]["images"] == 8
    assert [file.name for file in path.parent.iterdir()] == ["networks.json"]


def test_pairs_alternate_and_ratios_are_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    clock = count()
    monkeypatch.setattr(pairing.time, "perf_counter", lambda: float(next(clock)))
    timed = pairing.time_pairs(lambda: ran.append("a"), lambda: ran.append("b"), 3)
    assert "".join(ran) == "ab" + "ab" + "ba" + "ab"
    assert timed.first == timed.second == (1.0, 1.0, 1.0)
    pairs = pairing.Pairs((1.0, 2.0, 10.0), (3.0, 4.0, 10.0))
    assert pairs.ratios == (3.0, 2.0, 1.0)
    assert (pairs.ratio, pairs.ratio_quartiles) == (2.0, (1.5, 2.5))
