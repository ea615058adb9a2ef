"""`make bench-order`: how many images the sequential test asks, by the order of the images.

Recorded answers of real candidates of a network of the zoo, each evaluated once on all search
images: random candidates at layer granularity, levels and surgery as by default. Two halves learn
for each other, through `OrderLearner`, as a search would. Every candidate beyond the limit is
then judged under many draws by

- the test for independent draws in shuffled order, which this one replaced;
- this test with all images alike, not even those lifted that the network has wrong;
- this test with all images alike (the order before anything is learned);
- this test with a learned order, by the rate of differing and by its root.

The share of wrong rejections is that of made-up candidates exactly at the limit: real ones of
which answers, chosen by chance, were set to the network's until the drop is the limit.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikefront.evaluators.accuracy import correct
from spikefront.evaluators.evaluation import Evaluation, Stage, State
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.evaluators.image_order import Draw, ImageOrder, draw_images
from spikefront.evaluators.paired_answers import PairedAnswers
from spikefront.evaluators.preparation import TrainedModel, prepare
from spikefront.evaluators.sequential import DropTest
from spikefront.search.config_sections import LevelsSection
from spikefront.search.image_order import OrderLearner
from spikefront.spaces import Candidate, Granularity

from .pairing import seconds
from .record import write_record

LIMIT, ALPHA = 0.015, 0.05
_AT_LIMIT = 4000

Answers = NDArray[np.int64]
Stop = Callable[[Answers, str], int | None]
"""Images until rejection, by differences per image and the name of a draw; None: no rejection."""


def recorded(name: str, candidates: int) -> tuple[list[Candidate], Answers, NDArray[np.bool_]]:
    """Candidates, their differences per image [candidates, N], where the network is right [N]."""
    model = TrainedModel.load(None, name, {})
    data = model.network.card["data"]
    blueprint, _ = prepare(model, data, EvaluationSettings(), seed=0)
    space = model.spaces(Granularity.LAYER, LevelsSection().chosen())[-1]
    builder = blueprint.builder()
    chosen = [space.sample(random.Random(f"0:{number}")) for number in range(candidates)]
    rows: list[Answers] = []
    for candidate in chosen:
        network = builder.build(candidate)
        right = correct(network, blueprint.search, blueprint.preprocessing).numpy()
        rows.append(blueprint.search_correct.astype(np.int64) - right)
    return chosen, np.array(rows), blueprint.search_correct


def learned(candidates: Sequence[Candidate], differences: Answers) -> ImageOrder:
    """Order that a search has learned from these, measured in full, at its last version."""
    learner = OrderLearner(seed=0)
    everything = np.arange(differences.shape[1])
    for candidate, row in zip(candidates, differences, strict=True):
        answers = PairedAnswers.of(row, everything)
        learner.update(Evaluation(candidate, State.COMPLETE, Stage.FULL, answers=answers))
    return learner.current


def rooted(order: ImageOrder, images: int) -> ImageOrder:
    """The same order with the roots of its weights."""
    return ImageOrder.of(order.version, order.seed, np.sqrt(order.weights(images)))


def independent(differences: Answers, draw: str) -> int | None:
    """The former test: all images shuffled, taken for independent draws."""
    order = np.random.default_rng(int.from_bytes(draw.encode())).permutation(len(differences))
    bets = np.linspace(0.05, 0.95, 19) / (1 + LIMIT)
    wealth = np.cumprod(1 + bets * (differences[order][:, None] - LIMIT), axis=0).mean(axis=1)
    over = np.flatnonzero(wealth >= 1 / ALPHA)
    return int(over[0]) + 1 if len(over) else None


def unlifted(right: NDArray[np.bool_], differences: Answers, draw: str) -> int | None:
    """Judge by the present test, all images alike without exception."""
    order = np.random.default_rng(int.from_bytes(draw.encode())).permutation(len(differences))
    return _stop(differences, Draw(order, np.ones(len(order)), right[order]))


def weighted(
    order: ImageOrder, right: NDArray[np.bool_], differences: Answers, draw: str
) -> int | None:
    """Judge by the present test with an order."""
    return _stop(differences, draw_images(order, draw, right))


def _stop(differences: Answers, draw: Draw) -> int | None:
    test = DropTest(LIMIT, draw.weights, draw.parent_right, ALPHA)
    test.update(differences[draw.order])
    return test.rejected_at


def ways(right: NDArray[np.bool_], order: ImageOrder) -> dict[str, Stop]:
    """Ways to judge, by name."""
    return {
        "independent draws": independent,
        "all alike, not lifted": partial(unlifted, right),
        "all alike": partial(weighted, ImageOrder(), right),
        "learned": partial(weighted, order, right),
        "learned, root": partial(weighted, rooted(order, len(right)), right),
    }


def at_limit(differences: Answers, source: np.random.Generator) -> Answers | None:
    """The same candidate, healed by chance until its drop is the limit; None if it was within."""
    spare = int(differences.sum()) - math.floor(LIMIT * len(differences) + 1e-9)
    if spare <= 0:
        return None
    healed = differences.copy()
    healed[source.choice(np.flatnonzero(differences > 0), spare, replace=False)] = 0
    return healed


def measure(
    name: str,
    candidates: Sequence[Candidate],
    answers: Answers,
    right: NDArray[np.bool_],
    draws: int,
) -> list[dict[str, Any]]:
    """One row per way: images until rejection, and the share rejected at the limit."""
    bad = answers.sum(axis=1) > LIMIT * len(right) + 1e-9
    half = np.arange(len(answers)) % 2
    stops: dict[str, list[int]] = {}
    wrong: dict[str, list[bool]] = {}
    source = np.random.default_rng(1)
    for part in (0, 1):
        others = np.flatnonzero(half != part)
        order = learned([candidates[int(k)] for k in others], answers[others])
        own = answers[(half == part) & bad]
        healed = [at_limit(own[k % len(own)], source) for k in range(_AT_LIMIT // 2)]
        for way, stop in ways(right, order).items():
            found = (stop(row, f"{n}:{d}") for n, row in enumerate(own) for d in range(draws))
            stops.setdefault(way, []).extend(at or len(right) for at in found)
            wrong.setdefault(way, []).extend(
                stop(row, f"limit:{n}") is not None
                for n, row in enumerate(healed)
                if row is not None
            )
    return [
        {
            "network": name,
            "way": way,
            "search_images": len(right),
            "network_right": float(right.mean()),
            "candidates": len(answers),
            "beyond_limit": int(bad.sum()),
            "draws": draws,
            "limit": LIMIT,
            "alpha": ALPHA,
            "images_median": float(np.median(stops[way])),
            "images_mean": float(np.mean(stops[way])),
            "images_quartiles": np.quantile(stops[way], [0.25, 0.75]).tolist(),
            "at_limit": len(wrong[way]),
            "rejected_at_limit": float(np.mean(wrong[way])),
        }
        for way in stops
    ]


def show(rows: Sequence[Mapping[str, Any]]) -> str:
    """Table of the rows."""
    lines = [f"{'way':24s} {'median':>8s} {'mean':>8s} {'rejected at the limit':>24s}"]
    lines += [
        f"{row['way']:24s} {row['images_median']:8.1f} {row['images_mean']:8.1f} "
        f"{row['rejected_at_limit']:24.4f}"
        for row in rows
    ]
    return "\n".join(lines)


def summarise(rows: Sequence[Mapping[str, Any]], spent: float) -> dict[str, float]:
    """Median and rejected share by way; `spent` in seconds."""
    medians = {f"median images: {row['way']}": row["images_median"] for row in rows}
    shares = {f"rejected at the limit: {row['way']}": row["rejected_at_limit"] for row in rows}
    return {**medians, **shares, "hours": spent / 3600}


def main() -> None:
    """Record the answers once, judge them in all ways, print the table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="spikformer-digits", help="of the zoo")
    parser.add_argument("--candidates", type=int, default=64, help="evaluated once")
    parser.add_argument("--draws", type=int, default=20, help="orders per candidate and way")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []

    def run() -> None:
        found = recorded(options.network, options.candidates)
        rows.extend(measure(options.network, *found, options.draws))

    spent = seconds(run)
    print(show(rows))
    path = write_record("order", rows, summarise(rows, spent), arguments=" ".join(sys.argv[1:]))
    print(f"Written to {path}.")


if __name__ == "__main__":
    main()
