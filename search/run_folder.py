"""The folder of a run: what lies where."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..spaces.errors import BadInput, CorruptFile, RunFailed
from .sensitivity_table import FILE as SENSITIVITY_FILE


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run's files; `path` is the folder itself."""

    path: Path

    @property
    def config(self) -> Path:
        """The config as used, all defaults filled in."""
        return self.path / "config.yaml"

    @property
    def ledger(self) -> Path:
        """Every event of the search."""
        return self.path / "ledger.jsonl"

    @property
    def evaluations(self) -> Path:
        """Table of all candidates."""
        return self.path / "evaluations.parquet"

    @property
    def sensitivity(self) -> Path:
        """Sensitivity matrix, where the strategy measured one."""
        return self.path / SENSITIVITY_FILE

    @property
    def front(self) -> Path:
        """The front, with the parent and the counts."""
        return self.path / "front.json"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    def member(self, key: str) -> Path:
        """Packed folder of a front member."""
        return self.path / "members" / key

    def require_free(self) -> None:
        """Refuse a folder that a run lies in.

        Raises:
            BadInput: a run lies there already.
        """
        if self.ledger.exists():
            raise BadInput(
                f"{self.path} holds a run already: go on with it (spikefront resume {self.path}) "
                "or give this one another name (--name)."
            )

    def create(self) -> None:
        """Make the folder.

        Raises:
            BadInput: a run lies there already, or the folder cannot be made.
        """
        self.require_free()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"cannot create {self.path}: {error.strerror}.") from None

    def require(self) -> None:
        """Refuse a folder that holds no run.

        Raises:
            BadInput: there is no ledger or config in it.
        """
        for file in (self.config, self.ledger):
            if not file.is_file():
                raise BadInput(f"{self.path} holds no run: {file.name} is missing.")

    def read_front(self) -> dict[str, Any]:
        """The front's file, parsed.

        Raises:
            BadInput: the run has none (it was not finished).
            CorruptFile: it is no JSON.
        """
        try:
            return json.loads(self.front.read_text())
        except FileNotFoundError:
            raise BadInput(
                f"{self.path} has no {self.front.name}: the run was not finished; resume it."
            ) from None
        except ValueError as error:
            raise CorruptFile(f"{self.front} is not JSON: {error}.") from None


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        RunFailed: no space left, or the folder is not writable.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise RunFailed(f"cannot write {path}: {error.strerror}; see to that and resume.") from None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, whole or not at all.

    Raises:
        RunFailed: no space left, or the folder is not writable.
    """
    write_text(path, json.dumps(value, indent=1) + "\n")
