from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_up_pruning import ACCURACY, Network, channel, spaces
from simulated import SPACES
from simulated_search import Setup, run
from small_model import write_checkpoint, write_config

from spikefront.evaluators.evaluation import PROBE, WHOLE, State
from spikefront.search.config_sections import StrategySection
from spikefront.search.search import Search
from spikefront.search.sensitivity_table import read_cells
from spikefront.search.strategies import build_strategy
from spikefront.search.strategies.sensitivity import Sensitivity
from spikefront.spaces import BadInput, Candidate, SiteKind

SITES = [channel("hidden", f"block.{number}") for number in range(2)]
FOUND = spaces(SITES, {SiteKind.CHANNEL: (0.5, 0.75)})
SPACE = {
    "granularity": "network",
    "levels": {"channel": [0.5], "weight": [4], "token": [], "time": []},
}
LOSS = {"block.0.hidden": lambda missing: 0.1 * missing}


def section(**options: Any) -> StrategySection:
    return StrategySection.model_construct(name="sensitivity", population=10, options=options)


def played(stage: str, **changes) -> tuple[Network, Sensitivity]:
    network = Network(FOUND, LOSS, **changes)
    strategy = Sensitivity(network.task, stage)
    network.play(strategy)
    return network, strategy


def test_every_level_of_every_axis_alone_in_one_step():
    strategy = Sensitivity(Setup().make_task())
    asked = []
    while (suggestion := strategy.suggest(len(asked))) is not None:
        asked.append(suggestion)
    assert (asked[0].candidate, asked[0].checks) == (Candidate(), WHOLE)
    assert {suggestion.checks for suggestion in asked[1:]} == {PROBE}
    space = SPACES[-1]
    expected = [
        space.decode([index if n == number else f for n, f in enumerate(space.full)]).key
        for number, axis in enumerate(space.axes)
        for index in range(len(axis.levels) - 1)
    ]
    assert [suggestion.candidate.key for suggestion in asked[1:]] == expected


def test_matrix_of_probes():
    network, strategy = played("drift")
    rows = strategy.table().to_pylist()
    assert [(row["axis"], row["level"]) for row in rows] == [
        (f"channel:block.{number}.hidden", level) for number in range(2) for level in (0.5, 0.75)
    ]
    first = rows[0]
    assert json.loads(first["candidate"]) == {"channel": {"block.0.hidden": 20}}
    assert (first["kind"], first["bytes"], first["macs"]) == ("channel", 1600, 8000)
    assert first["drift"] == pytest.approx(0.1)
    assert first["synops"] == 7.0
    assert first["drop"] is first["accuracy"] is first["n_search"] is None
    assert first["state"] == "probed"
    assert len(network.asked) == 5


def test_matrix_of_full_evaluations():
    _, strategy = played("full", max_drop=None)
    drops = [row["drop"] for row in strategy.table().to_pylist()]
    assert drops == pytest.approx([0.05, 0.025, 0, 0])
    assert strategy.table().column("n_search").to_pylist() == [200] * 4
    assert strategy.table().column("accuracy").to_pylist()[0] == pytest.approx(ACCURACY - 0.05)


def test_half_a_matrix_is_a_table_of_half():
    network = Network(FOUND, LOSS)
    strategy = Sensitivity(network.task, "full")
    network.play(strategy, most=3)
    assert strategy.table().num_rows == 2
    assert not strategy.finished


def test_a_failed_cell_is_told_as_such():
    failing = FOUND[-1].decode([0, 2]).key
    _, strategy = played("full", failing=frozenset({failing}))
    row = strategy.table().to_pylist()[0]
    assert (row["key"], row["state"]) == (failing, State.FAILED.value)
    assert row["bytes"] is row["drop"] is None


def test_commits_out_of_order_give_the_same_matrix(tmp_path: Path):
    tables = []
    for name, ordered, workers in (("a", True, 1), ("b", False, 5)):
        setup = Setup(ordered=ordered).with_budget(500)
        strategy = build_strategy(setup.make_task(), section())
        run(setup, tmp_path / name, setup.make_backend(workers=workers, seed=3), strategy)
        tables.append(strategy.table())
    assert tables[0] is not None and tables[0].equals(tables[1])
    assert tables[0].num_rows == sum(len(axis.levels) - 1 for axis in SPACES[-1].axes)


def test_unknown_stage():
    task = Network(FOUND, LOSS).task
    with pytest.raises(BadInput, match=r"unknown stage of strategy 'sensitivity' 'ful'\. Did you"):
        Sensitivity(task, "ful")
    with pytest.raises(BadInput, match="unknown stage"):
        build_strategy(task, section(stage=["full"]))


def test_a_search_leaves_the_matrix_in_its_folder(tmp_path: Path):
    write_checkpoint(tmp_path)
    config = write_config(tmp_path, space=SPACE, strategy={"name": "sensitivity"})
    search = Search.from_config(config)
    result = search.run()
    cells = read_cells(result.folder)
    axes = search.plan().space.axes
    assert len(cells) == sum(len(axis.levels) - 1 for axis in axes)
    assert {cell.state for cell in cells} == {State.PROBED}
    assert all(cell.measures["drift"] >= 0 and "synops" in cell.measures for cell in cells)
    assert [member.candidate for member in result.front] == [Candidate()]
    assert result.record["counts"]["probed"] == len(cells)


def test_other_strategies_leave_none(tmp_path: Path):
    write_checkpoint(tmp_path)
    config = write_config(tmp_path, space=SPACE, strategy={"name": "uniform"})
    result = Search.from_config(config).run()
    assert not (result.folder / "sensitivity.parquet").exists()
