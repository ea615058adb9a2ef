from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_pruning import Network, channel, keep, spaces

from spikefront.search import sensitivity_table
from spikefront.search.sensitivity_table import (
    FILE,
    SCHEMA,
    check_network,
    read_cells,
    to_table,
    write_table,
)
from spikefront.search.strategies.sensitivity import Sensitivity
from spikefront.spaces import BadInput, CorruptFile, RunFailed, Site, SiteKind, Space

COLUMNS = [
    *("axis", "kind", "level", "candidate", "key", "bytes", "bytes_ratio", "macs"),
    *("drift", "drift_last", "flips", "flips_last", "kl", "disagreement", "synops", "energy_mj"),
    *("accuracy", "drop", "n_search", "state"),
]


def network(size: int = 40, name: str = "hidden") -> Network:
    sites = [channel(name, f"block.{number}", size) for number in range(2)]
    weight = Site("block.0.fc", SiteKind.WEIGHT, 32, "encoder", "block.0")
    levels = {SiteKind.CHANNEL: keep((0.25, 0.5)), SiteKind.WEIGHT: (2, 4)}
    return Network(spaces([*sites, weight], levels))


def measured(of: Network, stage: str = "full") -> pa.Table:
    strategy = Sensitivity(of.task, stage)
    of.play(strategy)
    return strategy.table()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_table(tmp_path / FILE, measured(network()))
    return tmp_path / FILE


def space_of(of: Network) -> Space:
    return of.task.space


@pytest.mark.parametrize("stage", ["drift", "full"])
def test_what_was_written_is_read(tmp_path: Path, stage: str):
    table = measured(network(), stage)
    write_table(tmp_path / FILE, table)
    assert table.column_names == COLUMNS
    for place in (tmp_path, tmp_path / FILE, str(tmp_path)):
        cells = read_cells(place)
        assert to_table(cells).equals(table)
    assert [cell.drop is None for cell in cells] == [stage == "drift"] * 6
    check_network(cells, space_of(network()), network().price)


def test_written_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch):
    before = path.read_bytes()

    def full(table: pa.Table, where: Path) -> None:
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sensitivity_table.pq, "write_table", full)
    with pytest.raises(RunFailed, match="No space left"):
        write_table(path, SCHEMA.empty_table())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_no_such_file(tmp_path: Path):
    for place in (tmp_path, tmp_path / "other.parquet"):
        with pytest.raises(BadInput, match=r"not found; a search with the strategy 'sensitivity'"):
            read_cells(place)


def test_corrupt_files(path: Path):
    whole = path.read_bytes()
    for content in (b"", b"no parquet", whole[: len(whole) // 2], whole[:-20]):
        path.write_bytes(content)
        with pytest.raises(CorruptFile, match="not a readable parquet file"):
            read_cells(path)


def test_foreign_columns(path: Path):
    table = pq.read_table(path)
    for wrong in (
        table.drop_columns(["drift"]),
        table.append_column("latency", pa.array([1.0] * 6)),
        table.set_column(5, "bytes", table["bytes"].cast(pa.float64())),
    ):
        pq.write_table(wrong, path)
        with pytest.raises(CorruptFile, match="a sensitivity table has axis, kind, level, cand"):
            read_cells(path)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("candidate", "{"),
        ("candidate", "[1]"),
        ("candidate", '{"channel":{"block.0.hidden":7}}'),
        ("candidate", '{"channel":{"block.0.hidden":null}}'),
        ("candidate", None),
        ("kind", "chanel"),
        ("state", "fine"),
        ("level", None),
    ],
)
def test_rows_that_make_no_sense(path: Path, column: str, value: Any):
    rows = pq.read_table(path).to_pylist()
    rows[2][column] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    with pytest.raises(CorruptFile, match="a row makes no sense"):
        read_cells(path)


def test_cells_of_another_network_are_refused(path: Path):
    cells = read_cells(path)
    other = network(name="inner")
    with pytest.raises(BadInput, match=r"another network or surgery.*channel:block\.0\.hidden at"):
        check_network(cells, space_of(other), other.price)
    narrower = network(20)
    with pytest.raises(BadInput, match=r"another network or surgery.*\(got|allowed|there"):
        check_network(cells, space_of(narrower), narrower.price)
    wider = network(80)
    with pytest.raises(BadInput, match=r"1,600 bytes there, 2,\d\d\d here|bytes there, .* here"):
        check_network(cells, space_of(wider), wider.price)


def test_an_axis_that_is_not_searched_does_no_harm(path: Path):
    found = network()
    sites = space_of(found).sites
    channels = Space.build(sites, "layer", {SiteKind.CHANNEL: (0.1,)})
    check_network(read_cells(path), channels, found.price)
