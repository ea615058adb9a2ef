"""A made-up network with made-up measures, and workers that are late, die and repeat themselves."""

from __future__ import annotations

import hashlib
import heapq
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from spikefront.cluster.backend import Backend, Completion, Outcome, Task
from spikefront.cluster.call import perform
from spikefront.evaluators.evaluation import (
    Checks,
    Evaluation,
    Rejection,
    Request,
    Stage,
    State,
)
from spikefront.evaluators.verdict import verdict_of
from spikefront.spaces import Candidate, Granularity, Site, SiteKind, Space
from spikefront.svtmodels.cost_tables import CostTables, CostTerm

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


def price(candidate: Candidate) -> dict[str, float]:
    """Static measures."""
    measures = made_up_measures(candidate)
    return {name: measures[name] for name in ("bytes", "bytes_ratio", "parameters", "macs")}


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
        luck: accuracy that the trained network owes to the search images, and nothing else has.
    """

    max_drop: float | None = 0.2
    max_bytes: int | None = None
    failing: float = 0.0
    luck: float = 0.0

    def __call__(self, request: Request) -> Evaluation:
        key = request.candidate.key
        if share(key, "fail") < self.failing:
            raise ValueError(f"{key} cannot be built")
        measures = made_up_measures(request.candidate)
        measures["drop"] += self.luck
        measures["accuracy"] -= self.luck
        known = {name: measures[name] for name in ("bytes", "bytes_ratio", "parameters", "macs")}
        limit = self.max_bytes if request.checks is None else None
        if limit is not None and known["bytes"] > limit:
            excess = known["bytes"] / limit - 1
            return _evaluation(request, State.INFEASIBLE, Stage.STATIC, known, violation=excess)
        signals = ("drift", "drift_last", "flips", "flips_last", "kl", "disagreement")
        known |= {name: measures[name] for name in signals}
        if request.checks is not None:
            return self._checked(request, request.checks, measures, known)
        allowed = self._allowed_drop(request, measures)
        verdict = verdict_of(request.gate, allowed)(measures)
        if verdict is not None and not request.audited:
            excess = verdict.value - verdict.threshold
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

    def _checked(
        self,
        request: Request,
        checks: Checks,
        measures: dict[str, float],
        known: dict[str, float],
    ) -> Evaluation:
        """What a strategy asked for, and nothing else."""
        images = CALIBRATION_IMAGES
        if checks.until is Stage.DRIFT:
            energy = {name: measures[name] for name in ("synops", "energy_mj")}
            return _evaluation(
                request, State.PROBED, Stage.DRIFT, known | energy, None, 0.0, images
            )
        drift, drop = measures["drift"], measures["drop"]
        if checks.max_drift is not None and drift > checks.max_drift:
            verdict = Rejection(Stage.DRIFT, drift, checks.max_drift)
            excess = drift - checks.max_drift
            return _evaluation(request, State.REJECTED, Stage.DRIFT, known, verdict, excess, images)
        if checks.subset and drop > checks.subset_drop:
            verdict = Rejection(Stage.SUBSET, drop, checks.subset_drop)
            some, excess = {**measures, "n_search": checks.subset}, drop - checks.subset_drop
            images += checks.subset
            return _evaluation(request, State.REJECTED, Stage.SUBSET, some, verdict, excess, images)
        violation = 0.0 if self.max_drop is None else max(drop - self.max_drop, 0.0)
        if self.max_bytes is not None:
            violation += max(measures["bytes"] / self.max_bytes - 1, 0.0)
        state = State.INFEASIBLE if violation > 0 else State.COMPLETE
        return _evaluation(
            request, state, Stage.FULL, measures, None, violation, images + SEARCH_IMAGES
        )

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
    noise = 0.8 + 0.4 * share(candidate.key, "drift")
    synops = 0.2 * macs
    return {
        "bytes": int(size),
        "bytes_ratio": size / 131_136,
        "parameters": 32_768,
        "macs": int(macs),
        "drift": loss * noise,
        "drift_last": 1.5 * loss * noise,
        "flips": 0.3 * loss * noise,
        "flips_last": 0.4 * loss * noise,
        "kl": 2 * loss * (0.95 + 0.1 * share(candidate.key, "kl")),
        "disagreement": loss * (0.9 + 0.2 * share(candidate.key, "disagreement")),
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
    if stage is Stage.FULL:
        measures = {**measures, "cross_entropy": 0.7 + 3 * measures["drop"]}
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


def cost_tables() -> CostTables:
    """Bytes and MACs of the finest space, term by term."""
    axes = {axis.name: number for number, axis in enumerate(SPACES[-1].axes)}

    def values(name: str) -> np.ndarray:
        axis = SPACES[-1].axes[axes[name]]
        return np.array([next(iter(axis.assign(n).values())) for n in range(len(axis.levels))])

    sizes = [CostTerm("fixed", (), np.array(64.0))]
    macs = []
    kept_steps = values("time:time") / 1.0
    for number in range(BLOCKS):
        block = f"block.{number}"
        kept, tokens = values(f"channel:{block}.hidden") / 64, values(f"token:{block}") / 64
        names = (f"channel:{block}.hidden", f"token:{block}", "time:time")
        work = 2 * 4096 * np.einsum("i,j,k->ijk", kept, tokens, kept_steps)
        macs.append(_term(block, [axes[name] for name in names], work))
        for layer in ("fc1", "fc2"):
            bits = values(f"weight:{block}.{layer}")
            size = np.round(4096 * np.outer(kept, bits) / 8)
            where = [axes[names[0]], axes[f"weight:{block}.{layer}"]]
            sizes.append(_term(f"{block}.{layer}", where, size))
    return CostTables(tuple(sizes), tuple(macs))


def _term(name: str, axes: list[int], values: np.ndarray) -> CostTerm:
    order = np.argsort(axes)
    return CostTerm(name, tuple(sorted(axes)), values.transpose(order), spikes=True)
