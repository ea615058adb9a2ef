"""sensitivity.parquet: what every level of every axis does alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ..evaluators.evaluation import Evaluation, State
from ..spaces.axis import Axis
from ..spaces.candidate import Candidate
from ..spaces.errors import BadInput, CorruptFile, RunFailed
from ..spaces.site import SiteKind
from ..spaces.space import Space

FILE = "sensitivity.parquet"
"""Its name in a run's folder."""

_TEXTS = ("axis", "kind", "candidate", "key", "state")
_COUNTS = ("bytes", "macs", "n_search")
_MEASURES = (
    "bytes",
    "bytes_ratio",
    "macs",
    "drift",
    "drift_last",
    "flips",
    "flips_last",
    "kl",
    "disagreement",
    "synops",
    "energy_mj",
    "accuracy",
    "drop",
    "n_search",
)


def _type(name: str) -> pa.DataType:
    if name in _TEXTS:
        return pa.string()
    return pa.int64() if name in _COUNTS else pa.float64()


SCHEMA = pa.schema(
    [
        (name, _type(name))
        for name in ("axis", "kind", "level", "candidate", "key", *_MEASURES, "state")
    ]
)
"""Columns of the file: `candidate` is canonical JSON, `level` nominal, null what is not known."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One level of one axis, everything else untouched.

    Attributes:
        axis: name of the axis.
        kind: of the axis.
        level: nominal.
        candidate: that has this level and nothing else.
        state: how its evaluation ended.
        measures: those of the file's columns that are known.
    """

    axis: str
    kind: SiteKind
    level: float
    candidate: Candidate
    state: State
    measures: Mapping[str, float]

    @classmethod
    def of(cls, axis: Axis, level: float, evaluation: Evaluation) -> Self:
        """Cell that an evaluation fills."""
        known = {n: evaluation.measures[n] for n in _MEASURES if n in evaluation.measures}
        return cls(axis.name, axis.kind, level, evaluation.candidate, evaluation.state, known)

    @property
    def drop(self) -> float | None:
        """Accuracy lost on all search images, a fraction; None: not measured."""
        return self.measures.get("drop")


def to_table(cells: Iterable[Cell]) -> pa.Table:
    """Cells as a table of `SCHEMA`, one row each in their order."""
    return pa.Table.from_pylist([_row(cell) for cell in cells], schema=SCHEMA)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table whole or not at all.

    Raises:
        RunFailed: no space left, or the folder is not writable.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        pq.write_table(table, temporary)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise RunFailed(f"cannot write {path}: {error}; see to that and resume.") from None


def read_cells(path: str | Path) -> list[Cell]:
    """Cells of a file, in its order.

    Args:
        path: of the file, or of the run's folder that it lies in.

    Raises:
        BadInput: there is no such file.
        CorruptFile: it is no parquet file, has other columns, or rows that contradict themselves.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise BadInput(
            f"{file}: not found; a search with the strategy 'sensitivity' leaves it in its folder."
        )
    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise CorruptFile(f"{file}: not a readable parquet file ({error}).") from error
    if not table.schema.remove_metadata().equals(SCHEMA):
        raise CorruptFile(
            f"{file}: its columns are {', '.join(table.column_names)}; a sensitivity table has "
            f"{', '.join(SCHEMA.names)}, of their own types."
        )
    try:
        return [_cell(row) for row in table.to_pylist()]
    except (ValueError, TypeError, AttributeError) as error:
        raise CorruptFile(f"{file}: a row makes no sense ({error}).") from error


def check_network(
    cells: Sequence[Cell], space: Space, price: Callable[[Candidate], Mapping[str, float]]
) -> None:
    """Refuse cells of another network.

    What can be seen from outside is compared: the sites, their legal values, and the bytes of
    one cell per axis. That weights, data and surgery are the same is up to whoever hands the
    file in.

    Args:
        cells: of a file.
        space: of the search that wants to use them.
        price: static measures of a candidate.

    Raises:
        BadInput: a cell does not fit.
    """
    one_per_axis = {cell.axis: cell for cell in cells if "bytes" in cell.measures}
    for cell in cells:
        try:
            Candidate.from_dict(cell.candidate.to_dict(), space.sites)
        except BadInput as error:
            raise BadInput(f"{_foreign(cell)}: {error}") from None
    for cell in one_per_axis.values():
        here, there = int(price(cell.candidate)["bytes"]), int(cell.measures["bytes"])
        if here != there:
            raise BadInput(f"{_foreign(cell)}: {there:,} bytes there, {here:,} here.")


def _foreign(cell: Cell) -> str:
    return (
        "the sensitivity table is of another network or surgery; measure this one's "
        f"(strategy 'sensitivity'). Axis {cell.axis} at {cell.level:g}"
    )


def _row(cell: Cell) -> dict[str, Any]:
    measures: dict[str, float] = dict(cell.measures)
    for name in _COUNTS:
        if name in measures:
            measures[name] = int(measures[name])
    return {
        "axis": cell.axis,
        "kind": cell.kind.value,
        "level": cell.level,
        "candidate": cell.candidate.to_json(),
        "key": cell.candidate.key,
        "state": cell.state.value,
        **measures,
    }


def _cell(row: Mapping[str, Any]) -> Cell:
    candidate = Candidate.from_record(json.loads(row["candidate"]))
    if candidate.key != row["key"]:
        raise ValueError(f"{row['candidate']} has the key {candidate.key}, not {row['key']}")
    measures = {name: row[name] for name in _MEASURES if row[name] is not None}
    level = float(row["level"])
    return Cell(row["axis"], SiteKind(row["kind"]), level, candidate, State(row["state"]), measures)
