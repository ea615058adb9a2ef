"""evaluations.parquet as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...spaces.errors import BadInput, CorruptFile

Floats = NDArray[np.float64]
Texts = NDArray[np.str_]

_TEXTS = frozenset({"key", "candidate", "state", "stage", "rejected_by"})


@dataclass(frozen=True, slots=True)
class EvaluationTable:
    """All evaluations of a run, one array per column, all [N].

    Unknown numbers are NaN and unknown texts empty. `number` is the order of commit.
    """

    key: Texts
    candidate: Texts
    state: Texts
    stage: Texts
    rejected_by: Texts
    number: Floats
    violation: Floats
    audited: Floats
    bytes: Floats
    bytes_ratio: Floats
    accuracy: Floats
    drop: Floats
    energy_mj: Floats
    rejection_value: Floats
    rejection_threshold: Floats

    def __len__(self) -> int:
        return len(self.key)

    @classmethod
    def read(cls, path: Path) -> EvaluationTable:
        """Table of a file.

        Raises:
            BadInput: there is no such file.
            CorruptFile: it is no parquet file, or a column is missing or of another type.
        """
        if not path.is_file():
            raise BadInput(f"{path}: not found; a run's folder holds it once a search has ended.")
        names = [field.name for field in fields(cls)]
        try:
            present = pq.read_schema(path).names
            missing = sorted(set(names) - set(present))
            if missing:
                raise CorruptFile(f"{path}: column {', '.join(missing)} missing.")
            table = pq.read_table(path, columns=names)
            return cls(**{name: _column(table, name) for name in names})
        except (pa.ArrowException, OSError, ValueError, TypeError) as error:
            raise CorruptFile(f"{path}: not a readable evaluations table ({error}).") from error


def _column(table: pa.Table, name: str) -> NDArray:
    column = table.column(name).combine_chunks()
    if name in _TEXTS:
        return np.array([value or "" for value in column.to_pylist()], dtype=np.str_)
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
