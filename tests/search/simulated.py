"""A made-up network with made-up measures, and workers that are late, die and repeat themselves."""

from __future__ import annotations

import hashlib
import heapq
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from typing_extensions import override

from spikefront.cluster.backend import Backend, Completion, Outcome, Task
from spikefront.cluster.call import perform
from spikefront.evaluators.evaluation import Evaluation, Rejection, Request, Stage, State
from spikefront.spaces import Candidate, Granularity, Site, SiteKind, Space

BLOCKS = 4
PARENT_ACCURACY = 0.95
SEARCH_IMAGES = 400
CALIBRATION_IMAGES = 100


def _sites() -> tuple[Site, ...]:
    sites = [Site("time", SiteKind.TIME, 4, "network", "network")]
    for number in range(BLOCKS):
        block, stage = f"block.{number}", f"stage.{number // 2}"
        sites += [
            Site(block, SiteKind.TOKEN, 64, stage, block),
            Site(f"{block}.hidden", SiteKind.CHANNEL, 64, stage, block),
            Site(f"{block}.fc1", SiteKind.WEIGHT, 32, stage, block),
            Site(f"{block}.fc2", SiteKind.WEIGHT, 32, stage, block),
        ]
    return tuple(sites)


SITES = _sites()
LEVELS = {
    SiteKind.TIME: (1, 2, 4),
    SiteKind.TOKEN: (0.5, 0.75, 1.0),
    SiteKind.CHANNEL: (0.25, 0.5, 0.75, 1.0),
    SiteKind.WEIGHT: (2, 3, 4, 6, 8, 32),
}
SPACES = tuple(Space.build(SITES, granularity, LEVELS) for granularity in Granularity)
"""Coarse to fine."""


def share(key: str, purpose: str) -> float:
    """A number from 0 to 1 that follows from a key: made-up chance without a state."""
    digest = hashlib.sha256(f"{purpose}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@dataclass(frozen=True)
class SimulatedEvaluator:
    """Judges a candidate as the real one does, on measures that are smooth functions of it.

    Attributes:
        max_drop: accuracy that may be lost; None: no limit.
        max_bytes: None: no limit.
        failing: share of the keys whose evaluation raises.
    """

    max_drop: float | None = 0.2
    max_bytes: int | None = None
    failing: float = 0.0

    def __call__(self, request: Request) -> Evaluation:
        key = request.candidate.key
        if share(key, "fail") < self.failing:
            raise ValueError(f"{key} cannot be built")
        measures = made_up_measures(request.candidate)
        known = {name: measures[name] for name in ("bytes", "bytes_ratio", "parameters", "macs")}
        if self.max_bytes is not None and known["bytes"] > self.max_bytes:
            excess = known["bytes"] / self.max_bytes - 1
            return _evaluation(request, State.INFEASIBLE, Stage.STATIC, known, violation=excess)
        drift, limit = measures["drift"], request.gate.max_drift
        known |= {"drift": drift}
        verdict = None
        if limit is not None and drift > limit:
            verdict = Rejection(Stage.DRIFT, drift, limit)
            if not request.audited:
                excess = drift / limit - 1
                return _evaluation(
                    request, State.REJECTED, Stage.DRIFT, known, verdict, excess, CALIBRATION_IMAGES
                )
        return self._measured(request, measures, verdict)

    def _measured(
        self, request: Request, measures: dict[str, float], verdict: Rejection | None
    ) -> Evaluation:
        allowed, drop = self._allowed_drop(request, measures), measures["drop"]
        if allowed is not None and drop > allowed + 0.05 and verdict is None:
            verdict = Rejection(Stage.SUBSET, drop, allowed)
            if not request.audited:
                some = {**measures, "n_search": SEARCH_IMAGES // 2}
                images = CALIBRATION_IMAGES + SEARCH_IMAGES // 2
                excess = drop - allowed
                return _evaluation(
                    request, State.REJECTED, Stage.SUBSET, some, verdict, excess, images
                )
        violation = 0.0 if self.max_drop is None else max(drop - self.max_drop, 0.0)
        state = State.INFEASIBLE if violation > 0 else State.COMPLETE
        images = CALIBRATION_IMAGES + SEARCH_IMAGES
        return _evaluation(request, state, Stage.FULL, measures, verdict, violation, images)

    def _allowed_drop(self, request: Request, measures: dict[str, float]) -> float | None:
        if self.max_drop is not None:
            return self.max_drop
        better = [a for size, a in request.gate.rivals if size <= measures["bytes"]]
        return PARENT_ACCURACY - max(better) if better else None


def made_up_measures(candidate: Candidate) -> dict[str, float]:
    """All measures of a candidate; later blocks bear compression better than earlier ones."""
    values = {site.key: value for site, value in candidate.values(SITES).items()}
    steps = values["time", "time"]
    size, macs, loss = 64.0, 0.0, 0.02 * (4 - steps) ** 1.5
    for number in range(BLOCKS):
        block, frailty = f"block.{number}", 0.12 / (1 + number)
        kept = values["channel", f"{block}.hidden"] / 64
        tokens = values["token", block] / 64
        loss += frailty * ((1 - kept) ** 2 + 0.6 * (1 - tokens) ** 2)
        for layer in ("fc1", "fc2"):
            bits = values["weight", f"{block}.{layer}"]
            loss += 3 * frailty * 2.0**-bits
            size += round(4096 * kept * bits / 8)
            macs += 4096 * kept * tokens * steps
    drop = min(loss, PARENT_ACCURACY - 0.1)
    synops = 0.2 * macs
    return {
        "bytes": int(size),
        "bytes_ratio": size / 131_136,
        "parameters": 32_768,
        "macs": int(macs),
        "drift": loss * (0.8 + 0.4 * share(candidate.key, "drift")),
        "accuracy": PARENT_ACCURACY - drop,
        "n_search": SEARCH_IMAGES,
        "drop": drop,
        "synops": synops,
        "energy_mj": synops * 0.9e-9,
        "energy_literature_mj": synops * 1e-9,
    }


def _evaluation(
    request: Request,
    state: State,
    stage: Stage,
    measures: dict[str, float],
    rejection: Rejection | None = None,
    violation: float = 0.0,
    images: int = 0,
) -> Evaluation:
    return Evaluation(
        candidate=request.candidate,
        state=state,
        stage=stage,
        measures=measures,
        rejection=rejection,
        violation=violation,
        audited=request.audited,
        gate_version=request.gate.version,
        image_evaluations=images,
        timing={"seconds": {stage.value: time.perf_counter()}},
    )


class SimulatedBackend(Backend[Request, Evaluation]):
    """Workers in virtual time: any number of them, in an order that the seed decides.

    Attributes:
        requests: every request that was submitted, with its number.
        most_in_flight: the highest number of tasks in flight so far.
        redone: how many runs were lost with their worker.
        repeated: how many completions were handed out once more.
    """

    def __init__(
        self,
        evaluate: Callable[[Request], Evaluation],
        *,
        workers: int = 1,
        capacity: int = 8,
        seed: int = 0,
        deaths: float = 0.0,
        repeats: float = 0.0,
        fate: Callable[[str], Outcome | None] = lambda key: None,
        interrupt_at: int | None = None,
    ) -> None:
        """Workers with accidents.

        Args:
            evaluate: what they do.
            workers: how many there are.
            capacity: most tasks in flight.
            seed: of durations and accidents.
            deaths: share of the runs that take their worker down and are done again.
            repeats: share of the waits that hand out an old completion once more.
            fate: by key, how a task ends that never gets done; None: it is done.
            interrupt_at: number of the wait that Ctrl-C falls into.
        """
        super().__init__(workers, capacity)
        self.requests: list[tuple[int, Request]] = []
        self.most_in_flight = 0
        self.redone = self.repeated = 0
        self._evaluate = evaluate
        self._random = random.Random(seed)
        self._deaths, self._repeats, self._fate = deaths, repeats, fate
        self._interrupt_at = interrupt_at
        self._waits = 0
        self._now = 0.0
        self._queue: deque[Task] = deque()
        self._running: list[tuple[float, int, Task]] = []
        self._old: list[Completion[Evaluation]] = []

    @override
    def submit(self, task: int, request: Request) -> None:
        super().submit(task, request)
        self.requests.append((task, request))
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    @override
    def wait(self, timeout: float | None = None) -> list[Completion[Evaluation]]:
        if self._waits == self._interrupt_at:
            raise KeyboardInterrupt
        self._waits += 1
        ended = super().wait(timeout)
        self._old += ended
        if self._old and self._random.random() < self._repeats:
            ended = [*ended, self._random.choice(self._old)]
            self.repeated += 1
        return ended

    @override
    def _accept(self, task: Task) -> None:
        self._queue.append(task)

    @override
    def _work(self, timeout: float | None) -> None:
        while not self._finished:
            while self._queue and len(self._running) < self._workers:
                task = self._queue.popleft()
                end = self._now + self._random.expovariate(1)
                heapq.heappush(self._running, (end, task.number, task))
            self._now, _, task = heapq.heappop(self._running)
            if self._random.random() < self._deaths:
                task.deaths.append("killed")
                self.redone += 1
                self._queue.append(task)
                continue
            self._finish(task)

    @override
    def _stop(self) -> None:
        self._queue.clear()
        self._running.clear()

    def _finish(self, task: Task) -> None:
        key = next(r.candidate.key for n, r in reversed(self.requests) if n == task.number)
        fate = self._fate(key)
        worker = f"virtual:{self._random.randrange(self._workers)}"
        if fate is not None:
            self._end(task, fate, f"{key} ended as {fate.value}", worker)
            return
        self._settle(task, perform(self._evaluate, task.payload), worker)
