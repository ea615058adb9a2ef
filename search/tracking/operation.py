"""One write to MLflow as plain data: done at once, or kept on disk and done later."""

from __future__ import annotations

import enum
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LOCAL = "local-"


class Kind(enum.StrEnum):
    """What an operation does. Each may be done twice without harm."""

    CREATE_RUN = "create_run"
    REOPEN_RUN = "reopen_run"
    PARAMS = "params"
    METRICS = "metrics"
    FILE = "file"
    JSON = "json"
    MARK_FRONT = "mark_front"
    REGISTER = "register"
    ALIASES = "aliases"
    END_RUN = "end_run"


@dataclass(frozen=True, slots=True)
class Operation:
    """One write.

    Attributes:
        kind: what it does.
        run: the run that it belongs to: an id of MLflow, or a local one.
        data: everything else that it needs, JSON-ready; no URI, so that it can be done elsewhere.
    """

    kind: Kind
    run: str
    data: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; `from_dict` gives an equal operation back."""
        return {"kind": self.kind.value, "run": self.run, "data": dict(self.data)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Operation:
        """Operation from `to_dict`."""
        return cls(Kind(data["kind"]), str(data["run"]), dict(data["data"]))

    def __str__(self) -> str:
        return f"{self.kind} of run {self.run}: {json.dumps(self.data)[:200]}"


def new_local_id() -> str:
    """Name for a run that MLflow does not know yet."""
    return f"{_LOCAL}{uuid.uuid4().hex}"


def child_id(parent: str, key: str) -> str:
    """Name for the run of a front member: the same whenever it is asked for."""
    return f"{_LOCAL}{parent}-{key}"


def is_local(run: str) -> bool:
    """Whether a run's name was given here and not by MLflow."""
    return run.startswith(_LOCAL)
