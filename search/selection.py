"""How much the search accuracy of a model flatters because it was chosen by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..evaluators.evaluation import Evaluation, Stage, State
from .front import Objective

RESAMPLES = 200
_CHUNK = 512
"""Candidates whose answers are unpacked at once."""
_ACCURACY = "accuracy"


@dataclass(frozen=True)
class Selection:
    """The choice among all candidates that were measured on all search images.

    A bootstrap over images: on each resample the choice is made anew, and how much better the
    chosen one looks there than on all images is what choosing adds. The mean of that is taken
    off. The choice is made as the front makes it:

    - Smallest member, where a limit on the drop is set: the smallest candidate whose drop on the
      resample keeps the limit. Of candidates near the limit, those come in that were lucky.
    - Every other member (and the smallest where nothing limits the drop): the most accurate
      candidate that costs no more than it does, for that is what makes it a member. Much smaller
      ones do not come near and change nothing; neighbours of like accuracy do.

    What is not corrected: that candidates were proposed because others did well on the same
    images, and that other members than the smallest are seen only if they keep the limit. The
    test split is free of all of this.

    Attributes:
        losses: drop on each resample, [R, K].
        drops: drop on all images, [K].
        costs: of the objectives but accuracy, [K, M].
        bytes: [K].
        allowed: whether all limits but that on the drop are kept, [K].
        max_drop: limit on the drop; None: there is none.
    """

    losses: NDArray[np.float64]
    drops: NDArray[np.float64]
    costs: NDArray[np.float64]
    bytes: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    max_drop: float | None

    def of_smallest(self) -> float:
        """By how much the drop of the smallest one within the limit is too low; 0 without one."""
        assert self.max_drop is not None
        return self._optimism(_first(self.bytes, (self.losses <= self.max_drop) & self.allowed))

    def of_most_accurate(self, costs: Sequence[float]) -> float:
        """The same of the most accurate one that costs at most `costs`, [M]."""
        rivals = self.allowed & (self.costs <= np.asarray(costs)).all(axis=1)
        if not rivals.any():
            return 0.0
        losses = np.where(rivals, self.losses, np.inf)
        return self._optimism(np.argmin(losses, axis=1))

    def _optimism(self, chosen: NDArray[np.int64]) -> float:
        """Mean over resamples of drop on all images minus drop there; -1: nothing was chosen.

        At least 0: who is chosen for luck has no bad luck, but for the noise of few resamples.
        """
        rows = np.flatnonzero(chosen >= 0)
        if not len(rows):
            return 0.0
        picked = chosen[rows]
        return max(float((self.drops[picked] - self.losses[rows, picked]).mean()), 0.0)


def corrected_accuracies(
    members: Sequence[Evaluation],
    evaluations: Sequence[Evaluation],
    objectives: Sequence[Objective],
    max_drop: float | None,
    seed: int,
) -> dict[str, float]:
    """Search accuracy of front members without what choosing them by it has added, by key.

    Args:
        members: of the front, ascending in bytes.
        evaluations: of the whole search; what no search image decided on plays no part.
        objectives: of the front.
        max_drop: limit on the drop.
        seed: of the resamples.
    """
    measured = _measured(evaluations)
    if not members or not measured:
        return {}
    names = [objective.name for objective in objectives if objective.name != _ACCURACY]
    selection = Selection(
        losses=_resampled(measured, seed),
        drops=np.array([e.measures["drop"] for e in measured]),
        costs=np.array([[e.measures[name] for name in names] for e in measured]),
        bytes=np.array([e.measures["bytes"] for e in measured]),
        allowed=np.array([_keeps_others(e, max_drop) for e in measured]),
        max_drop=max_drop,
    )
    corrected: dict[str, float] = {}
    for place, member in enumerate(members):
        if place == 0 and max_drop is not None:
            optimism = selection.of_smallest()
        else:
            optimism = selection.of_most_accurate([member.measures[name] for name in names])
        corrected[member.key] = min(max(member.measures[_ACCURACY] - optimism, 0.0), 1.0)
    return corrected


def _first(sizes: NDArray[np.float64], eligible: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of the smallest that is eligible in each row [R, K]; -1 where none is."""
    order = np.argsort(sizes, kind="stable")
    ranked = eligible[:, order]
    return np.where(ranked.any(axis=1), order[np.argmax(ranked, axis=1)], -1)


def _measured(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Each candidate once, if it was asked all search images; smaller ones first."""
    found = {
        e.key: e
        for e in evaluations
        if e.stage is Stage.FULL
        and e.state in (State.COMPLETE, State.INFEASIBLE)
        and e.answers is not None
    }
    return sorted(found.values(), key=lambda e: (e.measures["bytes"], e.key))


def _keeps_others(evaluation: Evaluation, max_drop: float | None) -> bool:
    """Whether whatever it violates is the limit on the drop alone."""
    excess = 0.0 if max_drop is None else max(evaluation.measures["drop"] - max_drop, 0.0)
    return evaluation.violation <= excess + 1e-12


def _resampled(measured: Sequence[Evaluation], seed: int) -> NDArray[np.float64]:
    """Drop of every candidate on every resample of the images, [R, K]."""
    images = _differences(measured[0]).size
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(images, np.full(images, 1 / images), RESAMPLES).astype(np.float32)
    parts = [
        weights @ np.stack([_differences(e) for e in measured[start : start + _CHUNK]], axis=1)
        for start in range(0, len(measured), _CHUNK)
    ]
    return np.concatenate(parts, axis=1).astype(np.float64) / images


def _differences(evaluation: Evaluation) -> NDArray[np.float32]:
    """Trained network is right minus candidate is right, per search image [N]."""
    assert evaluation.answers is not None
    return evaluation.answers.worse.astype(np.float32) - evaluation.answers.better
