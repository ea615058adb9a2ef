"""What choosing by search accuracy adds to it, on networks whose accuracy is known."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import SITES

from spikefront.evaluators.evaluation import Evaluation, Stage, State
from spikefront.evaluators.paired_answers import PairedAnswers
from spikefront.search.front import Front, Objective
from spikefront.search.selection import corrected_accuracies
from spikefront.spaces import Candidate

OBJECTIVES = (Objective("accuracy", maximise=True), Objective("bytes"))
PARENT, LIMIT, GAINED = 0.9, 0.02, 0.02


class World:
    """Networks of random size; smaller ones lose more, on images some of which are fragile."""

    def __init__(
        self, seed: int, count: int = 100, images: int = 1000, limit: float | None = LIMIT
    ) -> None:
        rng = np.random.default_rng(seed)
        size = np.sort(rng.random(count))
        lost = np.clip(0.05 * (1 - size) + rng.normal(0, 0.004, count), 0, 1) + GAINED
        fragile = rng.beta(0.3, 3, images)
        fragile /= fragile.mean()
        chances = np.clip(lost[:, None] * fragile, 0, 1)
        gains = np.clip(GAINED * fragile, 0, 1)
        answers = (rng.random(chances.shape) < chances).astype(np.int64)
        answers -= rng.random(chances.shape) < gains
        self.true = chances.mean(1) - gains.mean()
        self.evaluations = [
            evaluation(number, int(1e6 * size[number]), answers[number], limit)
            for number in range(count)
        ]
        self.front = Front(OBJECTIVES)
        for each in self.evaluations:
            self.front.add(each)

    def truth(self, member: Evaluation) -> float:
        return PARENT - self.true[self.evaluations.index(member)]


def evaluation(
    number: int,
    size: int,
    differences: np.ndarray,
    limit: float | None = LIMIT,
    excess: float = 0.0,
) -> Evaluation:
    """Measured in full; `excess` is its violation of other limits."""
    drop = float(differences.mean())
    violation = excess + (0.0 if limit is None else max(drop - limit, 0.0))
    return Evaluation(
        Candidate.of({SITES[1]: 1 + number % 60, SITES[2]: 1 + number // 60}),
        State.COMPLETE if violation == 0 else State.INFEASIBLE,
        Stage.FULL,
        {"bytes": size, "accuracy": PARENT - drop, "drop": drop},
        violation=violation,
        answers=PairedAnswers.of(differences, np.arange(len(differences))),
    )


def corrected(world: World, max_drop: float | None = LIMIT) -> dict[str, float]:
    members = world.front.members
    return corrected_accuracies(members, world.evaluations, OBJECTIVES, max_drop, seed=0)


def test_most_of_the_bias_goes_and_none_is_turned_round():
    """Of the smallest member and of the most accurate one, over 60 searches."""
    bias: dict[str, list[float]] = {"smallest": [], "best": []}
    left: dict[str, list[float]] = {"smallest": [], "best": []}
    for seed in range(60):
        world = World(seed)
        found = corrected(world)
        ends = {"smallest": world.front.smallest(), "best": world.front.most_accurate()}
        for name, member in ends.items():
            bias[name].append(member.measures["accuracy"] - world.truth(member))
            left[name].append(found[member.key] - world.truth(member))
    for name, before in bias.items():
        assert np.mean(before) > 0.006, name
        assert -0.1 * np.mean(before) < np.mean(left[name]) < 0.45 * np.mean(before), name


def test_a_choice_that_nothing_competes_for_is_left_alone():
    """Far apart in size and accuracy: every resample chooses the same."""
    rng = np.random.default_rng(0)
    front = Front(OBJECTIVES)
    lost = [
        evaluation(n, 1000 * (1 + n), (rng.random(4000) < p) * 1)
        for n, p in enumerate((0.5, 0.25, 0.005, 0.0))
    ]
    for each in lost:
        front.add(each)
    found = corrected_accuracies(front.members, lost, OBJECTIVES, LIMIT, seed=1)
    assert len(found) == len(front.members) == 2
    for member in front.members:
        # The mean over 200 resamples is not exactly that over all images.
        assert found[member.key] == pytest.approx(member.measures["accuracy"], abs=5e-4)


def test_the_same_seed_gives_the_same_and_order_does_not_matter():
    world = World(3)
    first = corrected(world)
    world.evaluations.reverse()
    assert corrected(world) == pytest.approx(first, abs=1e-12)


def test_smallest_by_hand():
    """Two candidates over two images: every resample is one of (2, 0), (1, 1), (0, 2)."""
    small = evaluation(0, 10, np.array([1, -1]))  # drop 0; on resamples 1, 0, -1
    large = evaluation(1, 20, np.array([0, 0]))
    members = [small]
    found = corrected_accuracies(members, [small, large], OBJECTIVES, LIMIT, seed=0)
    rng = np.random.default_rng(0)
    counts = rng.multinomial(2, [0.5, 0.5], 200)
    # Where the first image is drawn twice the small one loses 1 and the large one is chosen.
    gains = [(0 - (a - b) / 2) if a <= b else 0.0 for a, b in counts]
    assert found[small.key] == pytest.approx(PARENT - np.mean(gains))
    assert np.mean(gains) > 0.15


def test_what_breaks_another_limit_is_no_rival():
    """Or else a candidate too large for the budget would count as what might be chosen."""
    rng = np.random.default_rng(5)
    lost = [(rng.random(500) < 0.02) * 1 for _ in range(40)]
    member = evaluation(0, 1000, lost[0], None)
    found = {}
    for excess in (0.0, 0.3):
        rivals = [evaluation(n, 900, lost[n], None, excess) for n in range(1, 40)]
        every = [member, *rivals]
        found[excess] = corrected_accuracies([member], every, OBJECTIVES, None, seed=0)[member.key]
    alone = corrected_accuracies([member], [member], OBJECTIVES, None, seed=0)[member.key]
    assert found[0.3] == alone
    # The best of 40 alike is two standard errors, 0.6 points each, above what it is worth.
    assert 0.006 < alone - found[0.0] < 0.016


def test_what_was_not_asked_all_images_plays_no_part():
    world = World(1, count=20, images=200)
    early = [
        Evaluation(Candidate(), State.REJECTED, Stage.SUBSET, {"bytes": 1, "drop": 0.5}),
        Evaluation(Candidate(), State.FAILED, Stage.STATIC, error="broken"),
    ]
    before = corrected(world)
    world.evaluations += early
    assert corrected(world) == before
    assert corrected_accuracies([], early, OBJECTIVES, LIMIT, seed=0) == {}


def test_without_a_limit_the_smallest_competes_with_nothing():
    """It is the most accurate of its size, as every member is, and nothing is as small."""
    world = World(2, limit=None)
    smallest = world.front.smallest()
    found = corrected(world, None)[smallest.key]
    assert found == pytest.approx(smallest.measures["accuracy"], abs=2e-3)
