from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from simulated import PARENT_ACCURACY, SITES, SimulatedEvaluator, made_up_measures
from simulated_search import Setup, run

from spikefront.evaluators.evaluation import Evaluation, Request, Stage, State
from spikefront.search import results as results_module
from spikefront.search.controller import Controller
from spikefront.search.gate import audit
from spikefront.search.report.evaluation_table import EvaluationTable
from spikefront.search.report.front_schema import Front as FrontSchema
from spikefront.search.results import (
    SCHEMA,
    front_record,
    member_record,
    miss_record,
    nearest_misses,
    write_evaluations,
)
from spikefront.spaces import Candidate
from spikefront.spaces.errors import RunFailed

MEMBER_FIELDS = {
    "key",
    "candidate",
    "accuracy_search",
    "accuracy_test",
    "n_search",
    "n_test",
    "test_interval",
    "bytes",
    "bytes_ratio",
    "bytes_container",
    "macs",
    "synops",
    "energy_mj",
    "path",
}
COUNTS = {
    "complete",
    "rejected",
    "infeasible",
    "failed",
    "lost",
    "quarantined",
    "duplicates",
    "image_evaluations",
}
PARENT: dict[str, Any] = {
    "name": "made-up",
    "architecture": "made-up",
    "time_steps": 4,
    "accuracy_search": PARENT_ACCURACY,
    "accuracy_test": 0.9,
    "n_search": 400,
    "n_test": 200,
    "energy_preset": {"name": "45nm", "mac_pj": 4.6, "ac_pj": 0.9},
    "sites": [
        {"kind": s.kind.value, "name": s.name, "size": s.size, "block": s.block, "stage": s.stage}
        for s in SITES
    ],
    **made_up_measures(Candidate()),
}
TESTED = {
    "accuracy_test": 0.875,
    "n_test": 200,
    "drop_test": 0.025,
    "drop_low": -0.01,
    "drop_high": 0.06,
}


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    setup = Setup(strategy="nsga2", evaluator=SimulatedEvaluator(failing=0.05)).with_budget(80)
    path = tmp_path_factory.mktemp("run") / "ledger"
    return run(setup, path, setup.make_backend(workers=3, repeats=0.1))


def record_of(search: Controller) -> dict[str, Any]:
    tested = {
        m.key: Evaluation(m.candidate, State.COMPLETE, Stage.FULL, TESTED)
        for m in search.front.members
    }
    return front_record(
        search.front,
        PARENT,
        [member_record(member, tested[member.key], 5_000, 0.9) for member in search.front.members],
        {"accuracy": 0.1, "bytes": PARENT["bytes"]},
        search.counts,
        audit(search.evaluations, search.limited_since),
        {"drop": 0.2, "bytes": None},
    )


def test_front_json_has_the_pinned_fields(search: Controller):
    record = record_of(search)
    assert record["schema"] == SCHEMA == 1
    assert {"parent", "members", "hypervolume", "reference", "counts"} <= record.keys()
    assert record["counts"].keys() >= COUNTS
    assert len(record["members"]) == len(search.front) > 2
    for member in record["members"]:
        assert member.keys() >= MEMBER_FIELDS
        assert member["path"] == f"members/{member['key']}"


def test_front_json_is_strict_json_that_the_report_accepts(search: Controller):
    record = record_of(search)
    text = json.dumps(record, allow_nan=False)
    accepted = FrontSchema.model_validate_json(text)
    assert [member.key for member in accepted.members] == [m.key for m in search.front.members]
    assert accepted.counts.image_evaluations == search.counts.image_evaluations
    assert accepted.limits.drop == 0.2
    assert accepted.headline is not None
    assert accepted.headline.bytes == min(member["bytes"] for member in record["members"])


def test_front_json_counts_every_candidate_once(search: Controller):
    counts = record_of(search)["counts"]
    assert sum(counts[state.value] for state in State) == len(search.evaluations) == 80
    assert counts["duplicates"] > 0
    rejected = record_of(search)["rejected_by"]
    assert sum(rejected.values()) == counts["rejected"] > 0
    assert 0 not in rejected.values()


def test_members_ascend_in_bytes_and_in_accuracy(search: Controller):
    members = record_of(search)["members"]
    assert [m["bytes"] for m in members] == sorted(m["bytes"] for m in members)
    assert [m["accuracy_search"] for m in members] == sorted(m["accuracy_search"] for m in members)
    assert {type(member["bytes"]) for member in members} == {int}


def test_hypervolume_is_against_the_recorded_reference(search: Controller):
    record = record_of(search)
    assert record["hypervolume"] == search.front.hypervolume(record["reference"]) > 0


def test_interval_is_member_minus_parent(search: Controller):
    """The evaluator reports drops, parent minus member: both ends change sign and place."""
    member = search.front.members[0]
    test = Evaluation(member.candidate, State.COMPLETE, Stage.FULL, TESTED)
    record = member_record(member, test, 5_000)
    assert record["test_interval"] == [-0.06, 0.01]
    assert record["test_difference"] == -0.025
    assert record["accuracy_test"] == 0.875
    low, high = record["test_interval"]
    assert low <= record["test_difference"] <= high


def test_member_that_was_not_tested_claims_nothing(search: Controller):
    record = member_record(search.front.members[0], None, None)
    for name in ("accuracy_test", "n_test", "test_interval", "test_difference", "bytes_container"):
        assert record[name] is None


def test_candidate_of_a_member_is_its_key(search: Controller):
    for member in record_of(search)["members"]:
        assert Candidate.from_record(member["candidate"]).key == member["key"]


def test_table_has_a_row_per_evaluation_in_order_of_commit(search: Controller, tmp_path: Path):
    path = tmp_path / "evaluations.parquet"
    write_evaluations(path, search.evaluations)
    rows = pq.read_table(path).to_pylist()
    assert [row["key"] for row in rows] == [e.key for e in search.evaluations]
    assert [row["number"] for row in rows] == list(range(80))
    for row, evaluation in zip(rows, search.evaluations, strict=True):
        assert json.loads(row["candidate"]) == evaluation.candidate.to_dict()
        assert (row["state"], row["stage"]) == (evaluation.state.value, evaluation.stage.value)
        assert row["violation"] == evaluation.violation
        assert row["audited"] is evaluation.audited
        assert row["gate_version"] == evaluation.gate_version
        assert row["image_evaluations"] == evaluation.image_evaluations
        assert row["error"] == evaluation.error
        for name in ("bytes", "drift", "accuracy", "drop", "synops"):
            assert row[name] == evaluation.measures.get(name)
        rejection = evaluation.rejection
        expected = rejection and (rejection.stage.value, rejection.value, rejection.threshold)
        found = (row["rejected_by"], row["rejection_value"], row["rejection_threshold"])
        assert found == (expected or (None, None, None))
    assert list(tmp_path.iterdir()) == [path]


def test_table_has_the_same_types_whatever_it_holds(search: Controller, tmp_path: Path):
    """Columns without a single value keep their type, so that runs can be put together."""
    schemas = []
    for number, some in enumerate([search.evaluations, search.evaluations[:1], []]):
        path = tmp_path / f"{number}.parquet"
        write_evaluations(path, some)
        schemas.append(pq.read_schema(path).remove_metadata())
    assert schemas[0] == schemas[1] == schemas[2]
    kinds = {name: schemas[0].field(name).type for name in schemas[0].names}
    assert kinds["number"] == kinds["gate_version"] == kinds["image_evaluations"] == pa.int64()
    assert kinds["audited"] == pa.bool_()
    text = {name for name, kind in kinds.items() if kind == pa.string()}
    assert text == {"key", "candidate", "state", "stage", "rejected_by", "error"}
    numbers = {name for name, kind in kinds.items() if kind == pa.float64()}
    assert {"bytes", "bytes_ratio", "accuracy", "drift", "energy_mj", "violation"} <= numbers


def test_table_is_what_the_report_reads(search: Controller, tmp_path: Path):
    path = tmp_path / "evaluations.parquet"
    write_evaluations(path, search.evaluations)
    table = EvaluationTable.read(path)
    assert len(table) == 80
    assert table.state.tolist() == [evaluation.state.value for evaluation in search.evaluations]


def test_table_that_cannot_be_written_leaves_the_old_one(
    search: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "evaluations.parquet"
    write_evaluations(path, search.evaluations[:3])

    def full(table: object, where: Path) -> None:
        where.write_bytes(b"half")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(results_module.pq, "write_table", full)
    with pytest.raises(RunFailed, match="No space left"):
        write_evaluations(path, search.evaluations)
    assert pq.read_table(path).num_rows == 3
    assert list(tmp_path.iterdir()) == [path]


def missed(
    number: int, state: State, stage: Stage, violation: float, known: bool = True
) -> Evaluation:
    candidate = Candidate((("weight", f"layer.{number}", 2),))
    measures = {"bytes": 100} if known else {}
    return Evaluation(candidate, state, stage, measures, violation=violation)


def test_nearest_misses_are_measured_in_full_first_then_by_violation():
    full = [missed(n, State.INFEASIBLE, Stage.FULL, v) for n, v in enumerate((0.3, 0.1, 0.2))]
    early = [
        missed(10, State.REJECTED, Stage.DRIFT, 0.01),
        missed(11, State.INFEASIBLE, Stage.STATIC, 0.02),
        missed(12, State.REJECTED, Stage.SUBSET, 0.03),
    ]
    not_a_miss = [
        missed(20, State.COMPLETE, Stage.FULL, 0.0),
        missed(21, State.FAILED, Stage.STATIC, 0.0, known=False),
        missed(22, State.PROBED, Stage.DRIFT, 0.0),
    ]
    found = nearest_misses([*not_a_miss, *early, *full])
    assert [e.violation for e in found] == [0.1, 0.2, 0.3, 0.01, 0.02]
    assert [e.violation for e in nearest_misses([*early, *full], count=2)] == [0.1, 0.2]


def test_nearest_misses_do_not_depend_on_the_order_of_arrival():
    equal = [missed(n, State.INFEASIBLE, Stage.FULL, 0.1) for n in range(8)]
    assert nearest_misses(equal) == nearest_misses(equal[::-1])
    assert nearest_misses([]) == []


def test_miss_as_it_is_saved():
    record = miss_record(missed(1, State.INFEASIBLE, Stage.FULL, 0.1))
    assert json.loads(json.dumps(record)) == {
        "key": missed(1, State.INFEASIBLE, Stage.FULL, 0.1).key,
        "candidate": {"weight": {"layer.1": 2}},
        "state": "infeasible",
        "violation": 0.1,
        "measures": {"bytes": 100},
    }


def test_latency_is_a_column_whether_or_not_it_was_taken(search: Controller, tmp_path: Path):
    path = tmp_path / "evaluations.parquet"
    timed = [replace(e, timing={**e.timing, "latency_ms": 0.5}) for e in search.evaluations[:3]]
    write_evaluations(path, [*timed, *search.evaluations[3:]])
    column = pq.read_table(path)["latency_ms"]
    assert column.type == pa.float64()
    assert column.to_pylist() == [0.5] * 3 + [None] * (len(search.evaluations) - 3)


def test_a_method_and_the_split_are_recorded(search: Controller):
    record = record_of(search)
    assert (record["method"], record["paper_split"]) == (None, False)
    assert {member["accuracy_corrected"] for member in record["members"]} == {0.9}
    model = record["members"][0]
    method = {"name": "m", "chosen": model["key"], "met": True, "finished": True, "model": model}
    full = {**record, "method": method, "paper_split": True}
    accepted = FrontSchema.model_validate_json(json.dumps(full, allow_nan=False))
    assert accepted.paper_split
    assert accepted.method is not None
    assert accepted.method.model is not None
    assert accepted.method.model.key == model["key"]
    assert accepted.members[0].accuracy_corrected == 0.9


def test_the_table_has_every_measure_that_an_evaluation_has(tmp_path: Path):
    evaluation = SimulatedEvaluator()(Request(Candidate()))
    write_evaluations(tmp_path / "table.parquet", [evaluation])
    row = pq.read_table(tmp_path / "table.parquet").to_pylist()[0]
    assert {name: row[name] for name in evaluation.measures} == evaluation.measures
