"""The controller: asks the strategy, dispatches, and commits in order of suggestion."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ..cluster.backend import Backend, Completion, Outcome
from ..evaluators.evaluation import Evaluation, Request, Stage, State
from ..spaces.candidate import Candidate
from ..spaces.errors import BadInput
from .front import Front
from .gate import GatePolicy
from .ledger import Event, Ledger
from .strategies.base import Strategy, Suggestion

_POLL_SECONDS = 0.5
"""Longest wait for a completion, so that time budgets and interruptions are noticed."""

_REPEATS = 200
"""Suggestions in a row that were made before, after which a space counts as exhausted."""

LEAST_GROWTH = 0.001
"""Share of the hypervolume."""

_LATENCY = "latency_ms"

_STATES = {
    Outcome.FAILED: State.FAILED,
    Outcome.LOST: State.LOST,
    Outcome.QUARANTINED: State.QUARANTINED,
}


@dataclass(frozen=True, slots=True)
class Budget:
    """When no more candidates are suggested; whichever limit is reached first.

    Attributes:
        candidates: evaluations; suggestions that were made before and probes do not count.
        image_evaluations: forward passes of one image, over all evaluations.
        seconds: of wall time since the controller started (or was resumed).
        patience: evaluations over which the hypervolume of the front must have grown by
            `LEAST_GROWTH`; probes do not count, nor does a front of no volume, which is worth
            waiting for.
    """

    candidates: int
    image_evaluations: int | None = None
    seconds: float | None = None
    patience: int | None = None


class Observer(Protocol):
    """Is told of every commit."""

    def committed(self, evaluation: Evaluation, hit: bool) -> None:
        """One evaluation was committed; `hit`: it was known before."""
        ...


@dataclass(slots=True)
class Counts:
    """What became of the candidates of a search; `hits` are suggestions made before."""

    by_state: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))
    rejected_by: dict[Stage, int] = field(default_factory=lambda: dict.fromkeys(Stage, 0))
    hits: int = 0
    duplicates: int = 0
    image_evaluations: int = 0

    @property
    def evaluations(self) -> int:
        """Evaluations committed so far, without hits."""
        return sum(self.by_state.values())

    @property
    def candidates(self) -> int:
        """The same without probes."""
        return self.evaluations - self.by_state[State.PROBED]

    def add(self, evaluation: Evaluation) -> None:
        """Count a committed evaluation."""
        self.by_state[evaluation.state] += 1
        self.image_evaluations += evaluation.image_evaluations
        if evaluation.state is State.REJECTED and evaluation.rejection is not None:
            self.rejected_by[evaluation.rejection.stage] += 1

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, as front.json holds it."""
        return {
            **{state.value: count for state, count in self.by_state.items()},
            "hits": self.hits,
            "duplicates": self.duplicates,
            "image_evaluations": self.image_evaluations,
        }


@dataclass(slots=True)
class _Open:
    """A suggestion that is not committed yet; `request` is None if it was made before."""

    suggestion: Suggestion
    request: Request | None
    evaluation: Evaluation | None = None

    @property
    def candidate(self) -> Candidate:
        return self.suggestion.candidate


class Controller:
    """Runs a search over a backend, with the ledger as the one durable truth.

    Suggestion k is made when exactly the suggestions up to k - W are committed, and commits happen
    in order of suggestion whatever the order of arrival. A strategy that has nothing to suggest is
    asked again after the next commit; with nothing left to commit it has come to its end. The
    ledger of a search is therefore the same with one worker or a hundred, and with workers killed
    on the way.

    In unordered mode commits follow arrival: no evaluation waits for an older one. The trace then
    depends on timing, and two runs differ.
    """

    def __init__(
        self,
        strategy: Strategy,
        backend: Backend[Request, Evaluation],
        ledger: Ledger,
        front: Front,
        gate: GatePolicy,
        budget: Budget,
        window: int,
        *,
        ordered: bool = True,
        space_size: int | None = None,
        reference: Mapping[str, float] | None = None,
    ) -> None:
        """A controller.

        Args:
            strategy: suggests.
            backend: evaluates.
            ledger: new, or to be replayed.
            front: empty.
            gate: fresh.
            budget: when to stop.
            window: most suggestions that are open at once.
            ordered: whether commits follow the order of suggestion.
            space_size: number of points; None: unknown.
            reference: point of the hypervolume, which `Budget.patience` needs.
        """
        assert budget.patience is None or reference is not None
        self.front = front
        self.counts = Counts()
        self.evaluations: list[Evaluation] = []
        self._strategy = strategy
        self._backend = backend
        self._ledger = ledger
        self._gate = gate
        self._budget = budget
        self._window = window
        self._ordered = ordered
        self._space_size = space_size
        self._reference = reference
        self._volumes: list[float] = []
        self._stalled = False
        # Latency is measured, not reproducible: an objective in unordered searches alone.
        self._timed = any(o.name == _LATENCY for o in front.objectives)
        self._observers: list[Observer] = []
        self._open: dict[int, _Open] = {}
        self._known: dict[Suggestion, Evaluation] = {}
        # Those that are known or on their way.
        self._requested: set[Suggestion] = set()
        self._candidates = 0
        self._suggested = 0
        self._committed = 0
        self._repeats = 0
        self._started = time.monotonic()

    @property
    def limited_since(self) -> int | None:
        """Version of the first gate that could reject anything; None: none yet."""
        return self._gate.limited_since

    def observe(self, observer: Observer) -> None:
        """Tell an observer of every commit from now on."""
        self._observers.append(observer)

    def replay(self, events: Iterable[Event]) -> int:
        """Bring everything to the state that a ledger records; returns the commits found.

        What was suggested and not committed is dispatched again by `run`.

        Raises:
            BadInput: the strategy suggests something else than the ledger says: code or config
                have changed since.
        """
        for event in events:
            match event["event"]:
                case "suggested":
                    self._replay_suggestion(event)
                case "evaluated":
                    evaluation = Evaluation.from_dict(event["evaluation"])
                    self._take(event["index"], evaluation, hit=False)
                case "hit":
                    known = self._known[self._open[event["index"]].suggestion]
                    self._take(event["index"], known, hit=True)
                case "duplicate":
                    self.counts.duplicates += 1
                case _:
                    pass
        return self._committed

    def run(self) -> None:
        """Search until the budget is spent; on return everything is committed and durable."""
        try:
            for index, open_ in self._open.items():
                if open_.request is not None:
                    self._backend.submit(index, open_.request)
            self._fill()
            while self._open:
                self._commit_ready()
                if not self._open:
                    break
                for completion in self._backend.wait(_POLL_SECONDS):
                    self._arrived(completion)
        finally:
            self._ledger.sync()

    def _fill(self) -> None:
        while len(self._open) < self._window and not self._spent():
            index = self._suggested
            suggestion = self._strategy.suggest(index)
            if suggestion is None:
                return
            open_ = self._prepare(suggestion)
            self._note_suggestion(index, open_)
            if open_.request is not None:
                self._backend.submit(index, open_.request)

    def _prepare(self, suggestion: Suggestion) -> _Open:
        """Suggestion with its request; none if the same is known or on its way."""
        if suggestion in self._requested:
            return _Open(suggestion, None)
        self._requested.add(suggestion)
        candidate, checks = suggestion.candidate, suggestion.checks
        self._candidates += not suggestion.probe
        audited = checks is None and self._gate.audits(candidate.key)
        return _Open(suggestion, Request(candidate, self._gate.current, audited, checks=checks))

    def _note_suggestion(self, index: int, open_: _Open) -> None:
        self._open[index] = open_
        self._suggested += 1
        checks = open_.suggestion.checks
        self._ledger.append(
            {
                "event": "suggested",
                "index": index,
                "key": open_.candidate.key,
                "candidate": open_.candidate.to_dict(),
                "checks": None if checks is None else checks.to_dict(),
                "audited": open_.request is not None and open_.request.audited,
                "gate_version": self._gate.current.version,
            }
        )

    def _replay_suggestion(self, event: Mapping[str, Any]) -> None:
        index = event["index"]
        suggestion = self._strategy.suggest(index)
        now = "none" if suggestion is None else suggestion.candidate.key
        if suggestion is None or now != event["key"] or suggestion.record != event["checks"]:
            raise BadInput(
                f"suggestion {index} was {event['key']} and would be {now} now: the "
                "code or the config has changed since. Start a new run under another name."
            )
        self._open[index] = self._prepare(suggestion)
        self._suggested += 1

    def _spent(self) -> bool:
        budget = self._budget
        if self._candidates >= budget.candidates:
            return True
        if self._space_size is not None and self._candidates >= self._space_size:
            return True
        if self._repeats >= _REPEATS or self._stalled:
            return True
        images = budget.image_evaluations
        if images is not None and self.counts.image_evaluations >= images:
            return True
        elapsed = time.monotonic() - self._started
        return budget.seconds is not None and elapsed >= budget.seconds

    def _arrived(self, completion: Completion[Evaluation]) -> None:
        open_ = self._open.get(completion.task)
        if open_ is None or open_.evaluation is not None:
            self.counts.duplicates += 1
            self._ledger.append({"event": "duplicate", "index": completion.task})
            return
        evaluation = _evaluation(open_, completion)
        open_.evaluation = _with_latency(evaluation) if self._timed else evaluation

    def _commit_ready(self) -> None:
        """Commit whatever may be committed now, refilling the window after each commit."""
        while (index := self._next_ready()) is not None:
            open_ = self._open[index]
            if open_.request is None:
                self._ledger.append({"event": "hit", "index": index, "key": open_.candidate.key})
                self._take(index, self._known[open_.suggestion], hit=True)
            else:
                assert open_.evaluation is not None
                record = {"event": "evaluated", "index": index}
                self._ledger.append({**record, "evaluation": open_.evaluation.to_dict()})
                self._take(index, open_.evaluation, hit=False)
            self._fill()

    def _next_ready(self) -> int | None:
        for index, open_ in self._open.items():
            known = open_.request is None and open_.suggestion in self._known
            if known or open_.evaluation is not None:
                return index
            if self._ordered:
                return None
        return None

    def _take(self, index: int, evaluation: Evaluation, *, hit: bool) -> None:
        """Commit: the only place where anything is learned from an evaluation."""
        suggestion = self._open.pop(index).suggestion
        self._committed += 1
        self._strategy.update(index, evaluation)
        if hit:
            self.counts.hits += 1
            self._repeats += 1
        else:
            self._repeats = 0
            self.counts.add(evaluation)
            self._known[suggestion] = evaluation
            self.evaluations.append(evaluation)
            entered = self.front.add(evaluation)
            self._gate.update(evaluation, self.front, entered)
            self._watch_growth(evaluation, entered)
        for observer in self._observers:
            observer.committed(evaluation, hit)

    def _watch_growth(self, evaluation: Evaluation, entered: bool) -> None:
        """Note whether the front still grows; once it does not, the search is at its end."""
        patience, volumes = self._budget.patience, self._volumes
        if patience is None or self._reference is None or evaluation.state is State.PROBED:
            return
        last = volumes[-1] if volumes else 0.0
        volumes.append(self.front.hypervolume(self._reference) if entered else last)
        if len(volumes) <= patience or volumes[-1] <= 0:
            return
        before = volumes[-1 - patience]
        self._stalled |= volumes[-1] - before < LEAST_GROWTH * before


def _with_latency(evaluation: Evaluation) -> Evaluation:
    """With its measured latency among the measures, where it was timed."""
    if _LATENCY not in evaluation.timing:
        return evaluation
    measures = {**evaluation.measures, _LATENCY: evaluation.timing[_LATENCY]}
    return replace(evaluation, measures=measures)


def _evaluation(open_: _Open, completion: Completion[Evaluation]) -> Evaluation:
    """Evaluation that a completion amounts to, with who did it and how long it took."""
    request = open_.request
    assert request is not None
    timing = {
        "worker": completion.worker,
        "total": completion.seconds,
        "attempts": completion.attempts,
    }
    if completion.result is not None:
        done = completion.result
        return replace(done, timing={**done.timing, **timing})
    return Evaluation(
        candidate=open_.candidate,
        state=_STATES[completion.outcome],
        stage=Stage.STATIC,
        audited=request.audited,
        gate_version=request.gate.version,
        error=completion.error,
        timing=timing,
    )
