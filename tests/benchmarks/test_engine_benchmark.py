"""The machinery of the benchmark of the engine, on a tiny network; no time is checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.engine import summarise, write_page
from benchmarks.engine_cases import EngineCase, firing_rate
from benchmarks.engine_kernels import Spent, measure_kernels, measure_peaks, timed_kernels
from benchmarks.engine_page import page, show
from benchmarks.engine_speed import measure_other, measure_speed
from benchmarks.matching import LARGE
from benchmarks.matching import _spikformer as spikformer
from benchmarks.record import write_record
from spikefront.evaluators.synops import SynOpCounter
from spikefront.svtmodels.engine.context import Context
from spikefront.svtmodels.engine.program import Program

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def case() -> EngineCase:
    torch.manual_seed(0)
    tiny = spikformer("tiny", 16, 2, 1, 2, 2)
    network = tiny.network()
    images = torch.randn(3, *network.input_shape)
    return EngineCase("tiny", network, images, "noise", tiny.other, tiny)


def test_rows_of_a_network(case: EngineCase) -> None:
    full, small = measure_speed(case, 32, 3), measure_speed(case, 4, 2)
    other = measure_other(case, 2)
    assert other is not None
    for row, pairs in ((full, 3), (small, 2), (other, 2)):
        low, high = row["times_faster_range"]
        assert 0 < low <= row["times_faster"] <= high
        assert (row["pairs"], row["images"]) == (pairs, 3)
    assert small["same_bits"] and small["same_answers"] == 1.0
    assert full["macs"] == small["macs"] > 0
    with SynOpCounter(case.network) as counter, torch.inference_mode():
        case.network(case.images)
    assert full["synops"] == counter.total / 3
    assert full["macs_per_second"] == full["macs"] * full["images_per_second"]
    assert 0 < full["firing_rate"] == firing_rate(case.network, case.images) < 1
    assert measure_other(EngineCase("", case.network, case.images, ""), 2) is None


def test_kernels_are_timed_and_put_back(case: EngineCase) -> None:
    rows, before = measure_kernels(case, 8, 2), Context.run
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert rows[0]["share"] == max(row["share"] for row in rows)
    with timed_kernels() as spent, torch.inference_mode():
        program = Program(case.built(8))
        program(case.images)
    assert Context.run is before
    # Accumulates of the synapses are those that the program counts itself.
    products = {product.name for product in case.network.declaration.attentions}
    counted = {n: c for n, c in program.operations.items() if n not in products}
    assert sum(each.synops for each in spent.values()) == sum(counted.values())
    assert all(each.synops <= each.macs for each in spent.values())
    assert all(isinstance(each, Spent) and each.seconds > 0 for each in spent.values())


def test_record_table_and_page(case: EngineCase, tmp_path: Path) -> None:
    rows = [*measure_peaks(1), measure_speed(case, 32, 2), measure_speed(case, 8, 2)]
    other = measure_other(case, 2)
    assert other is not None
    rows += [other, *measure_kernels(case, 8, 1)]
    summary = summarise(rows, 3600.0)
    assert summary["hours"] == 1.0
    assert summary["median times faster: plain torch, 8 bits"] == rows[3]["times_faster"]
    assert summary["smallest times faster: spikingjelly"] == other["times_faster"]
    assert len(show(rows).splitlines()) == 7
    path = write_record("engine", rows, summary, tmp_path / "results")
    written = write_page(path, tmp_path).read_text()
    assert written == page(json.loads(path.read_text()))
    assert "make bench-engine" in written and "| tiny | 8 |" in written


def test_large_networks_are_as_wide_as_those_of_the_papers() -> None:
    assert [case.arguments["embed_dims"] for case in LARGE] == [384] * 3
    assert all(case.counterpart is not None for case in LARGE)


def test_the_page_is_the_record() -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "engine.json").read_text())
    assert (ROOT / "docs" / "engine-results.md").read_text() == page(record)
