"""A strategy that is given what earlier searches found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from typing_extensions import override

from ...evaluators.evaluation import Evaluation
from ...spaces.candidate import Candidate
from ...spaces.errors import BadInput, CorruptFile
from ...spaces.space import Space
from ..run_folder import RunFolder
from .base import Strategy, Suggestion


@dataclass(frozen=True, slots=True)
class Findings:
    """What earlier searches found.

    Attributes:
        candidates: those that the space can express, each once, in order of the runs.
        left_out: number of those that it cannot.
    """

    candidates: tuple[Candidate, ...]
    left_out: int

    @classmethod
    def read(cls, folders: Sequence[str], space: Space) -> Self:
        """Front members of some runs, and the model that each run's method chose.

        Args:
            folders: of the runs.
            space: of the search to come.

        Raises:
            BadInput: a folder holds no finished run, or the space can express nothing of them.
            CorruptFile: a front.json does not hold what it must.
        """
        found = dict.fromkeys(c for folder in folders for c in _candidates(Path(folder), space))
        fitting = tuple(candidate for candidate in found if _fits(candidate, space))
        if not fitting:
            raise BadInput(
                f"strategy.warm_start: nothing found by {', '.join(folders)} can be expressed in "
                f"this space ({len(found)} candidates); give space the levels and the "
                "granularity of those runs."
            )
        return cls(fitting, len(found) - len(fitting))

    @property
    def note(self) -> str:
        """What a user should know."""
        left = f"; {self.left_out} do not fit the space and are left out" if self.left_out else ""
        return f"Warm start: {len(self.candidates)} candidates of earlier runs come first{left}."


class WarmStart(Strategy):
    """Suggests what earlier searches found, then whatever the strategy behind it does.

    The candidates are evaluated anew, as everything else: images and limits may differ now. The
    strategy behind is handed what came out by `learn`, and counts its own suggestions from 0.

    Args:
        inner: the strategy behind.
        findings: what comes first.
    """

    def __init__(self, inner: Strategy, findings: Findings) -> None:
        self.findings = findings
        self._inner = inner

    @override
    def suggest(self, index: int) -> Suggestion | None:
        first = self.findings.candidates
        if index < len(first):
            return Suggestion(first[index])
        return self._inner.suggest(index - len(first))

    @override
    def update(self, index: int, evaluation: Evaluation) -> None:
        own = index - len(self.findings.candidates)
        if own < 0:
            self._inner.learn(evaluation)
        else:
            self._inner.update(own, evaluation)

    @override
    def learn(self, evaluation: Evaluation) -> None:
        self._inner.learn(evaluation)

    @override
    def outcome(self) -> Mapping[str, Any] | None:
        return self._inner.outcome()

    @override
    def table(self) -> pa.Table | None:
        return self._inner.table()


def _candidates(folder: Path, space: Space) -> Iterator[Candidate]:
    run = RunFolder(folder)
    record = run.read_front()
    try:
        entries = [member["candidate"] for member in record["members"]]
        model = (record.get("method") or {}).get("model")
        if model is not None:
            entries.append(model["candidate"])
    except (LookupError, TypeError, AttributeError) as error:
        raise CorruptFile(f"{run.front}: holds no front ({error!r}).") from error
    for entry in entries:
        try:
            yield Candidate.from_dict(entry, space.sites)
        except BadInput as error:
            raise BadInput(f"{run.front}: not of this network: {error}") from None


def _fits(candidate: Candidate, space: Space) -> bool:
    try:
        space.encode(candidate)
    except BadInput:
        return False
    return True
