"""The machinery of the benchmark of whole searches; nothing is searched, no time is checked."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from benchmarks.own_search import Clock
from benchmarks.plain_search import accuracy as plain_accuracy
from benchmarks.plain_search import with_plain_neurons
from benchmarks.search import NETWORK, config, setup
from benchmarks.search_curve import OWN, PLAIN, Reference, curve, summarise, time_to
from benchmarks.search_page import page, write_pages
from spikefront.evaluators.accuracy import accuracy
from spikefront.evaluators.data import Preprocessing, digits_splits
from spikefront.evaluators.evaluation import Evaluation, Stage, State
from spikefront.search.config import Config
from spikefront.spaces import Candidate
from spikefront.svtmodels.checkpoint import load_checkpoint
from spikefront.svtmodels.parts.neuron import LIF
from spikefront.svtmodels.surgery.compress import compress
from spikefront.svtmodels.zoo import zoo_path

REFERENCE = Reference(0.1, 1000)


def point(at: float, accuracy: float | None, size: int | None, state: str = "complete") -> Any:
    return {"at": at, "state": state, "accuracy": accuracy, "bytes": size, "images": 10}


OWN_POINTS = [
    point(12.0, 0.9, 1100),  # Beyond the reference: no volume.
    point(13.0, 0.8, 500),
    point(14.0, None, 100, "rejected"),
    point(16.0, 0.7, 200),
    point(18.0, 0.75, 600),  # Dominated.
]
PLAIN_POINTS = [point(30.0, 0.7, 400), point(50.0, 0.75, 700), point(70.0, 0.1, 50)]


def by_counting(points: list[tuple[float, int]]) -> float:
    """Share of a fine grid of (accuracy, bytes) that some point is better than."""
    cells = itertools.product(range(100, 1000), range(0, 1000, 10))
    covered = sum(
        any(a <= 1000 * accuracy - 1 and size <= b for accuracy, size in points) for a, b in cells
    )
    return covered / (900 * 100)


def rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return (
        curve(OWN, OWN_POINTS, 10.0, REFERENCE),
        curve(PLAIN, PLAIN_POINTS, 20.0, REFERENCE),
    )


def test_the_curve_counts_complete_candidates_within_the_reference() -> None:
    own, _ = rows()
    assert [row["seconds"] for row in own] == [2, 3, 4, 6, 8]
    wanted = [0.0, *(by_counting([(0.8, 500)]),) * 2, *(by_counting([(0.8, 500), (0.7, 200)]),) * 2]
    assert [row["hypervolume"] for row in own] == pytest.approx(wanted)
    assert [row["state"] for row in own].count("rejected") == 1


def test_figures_are_those_of_the_curves() -> None:
    own, plain = rows()
    figures = summarise(own, plain, {OWN: 9.0, PLAIN: 55.0})
    # The plain side ends at 50 s; ours has that volume, had there after 30 s, with its second.
    assert plain[-1]["hypervolume"] == pytest.approx(by_counting([(0.7, 400), (0.75, 700)]))
    assert figures["times faster, same number of candidates"] == 50 / 8
    assert figures["spikefront: seconds until the plain side's hypervolume"] == 6
    assert figures["times faster, same hypervolume"] == pytest.approx(50 / 6)
    assert figures["times faster, same hypervolume, from when it was had"] == pytest.approx(30 / 6)
    assert figures["spikefront: images"] == 50
    assert time_to(own, 0.99) is None
    turned = summarise(plain, own, {OWN: 55.0, PLAIN: 9.0})
    assert "times faster, same hypervolume" not in turned


def test_the_page_is_made_of_the_record_alone(tmp_path: Path) -> None:
    own, plain = rows()
    facts: dict[str, Any] = {
        "part": "setup",
        "network": NETWORK,
        "parameters": 164_562,
        "axes": 30,
        "images": 2000,
        "workers": 2,
        "population": 40,
        "seed": 0,
        "plain_neurons": "spikingjelly",
        "reference": {"accuracy": 0.1, "bytes": 1000},
    }
    record = {
        "command": "make bench-search",
        "machine": {"processor": "one", "cores": 2, "load_1_minute": 0.5},
        "date": "2026-01-01T00:00:00+00:00",
        "rows": [facts, *own, *plain],
        "summary": summarise(own, plain, {OWN: 9.0, PLAIN: 55.0}),
    }
    path = tmp_path / "search.json"
    path.write_text(json.dumps(record))
    first = [file.read_bytes() for file in write_pages(path, tmp_path)]
    assert first == [file.read_bytes() for file in write_pages(path, tmp_path)]
    assert "after 6.0 s:\n**8.3 times as fast**" in page(record)
    assert "| images evaluated for candidates | 50 | 30 |" in page(record)
    record["summary"] = summarise(plain, own, {OWN: 55.0, PLAIN: 9.0})
    assert "did not reach the plain side's final hypervolume" in page(record)


@pytest.mark.parametrize("images", [2000, 100])
def test_both_sides_are_told_the_same(tmp_path: Path, images: int) -> None:
    network = load_checkpoint(zoo_path(NETWORK))
    told = setup(network, 7, images, False, tmp_path)
    given = Config.parse(yaml.safe_dump(config(told, tmp_path)))
    assert (given.budget.candidates, given.seed, given.strategy.name) == (7, 0, "nsga2")
    assert (given.cluster.backend, given.cluster.worker_count) == ("ray", told["workers"])
    assert given.data == told["data"] and given.data["search"] == images
    levels = given.space.levels.chosen()
    ours = network.space(given.space.granularity, levels)
    assert ours.axes == network.space("layer", told["levels"]).axes
    assert ("held_out" in load_checkpoint(told["checkpoint"]).card) == (images == 2000)


def test_the_plain_side_has_the_same_network_with_other_neurons() -> None:
    network = load_checkpoint(zoo_path("spikformer-digits"))
    levels = {"weight": 3, "channel": 0.75, "token": 0.75}
    sites = [site for site in network.sites if site.kind.value in levels]
    candidate = Candidate.of({site: site.value_at(levels[site.kind.value]) for site in sites})
    small = compress(network, candidate)
    some = digits_splits().search.take(range(40))
    preprocessing = Preprocessing.preset("digits")
    inputs, labels = preprocessing.apply(some.images), torch.from_numpy(some.labels.copy())
    with torch.inference_mode():
        logits, wanted = small(inputs), accuracy(small, some, preprocessing)
        with_plain_neurons(small)
        assert not any(isinstance(module, LIF) for module in small.modules())
        for _ in range(2):  # Nothing is left in the neurons.
            assert plain_accuracy(small, inputs, labels) == wanted
        assert torch.equal(small(inputs), logits)


def test_the_clock_takes_down_evaluations_and_the_accuracy_of_complete_ones() -> None:
    clock = Clock()
    measures = {"accuracy": 0.5, "bytes": 10}
    for state in (State.COMPLETE, State.REJECTED):
        made = Evaluation(Candidate(), state, Stage.FULL, measures, image_evaluations=3)
        clock.committed(made, False)
        clock.committed(made, True)
    assert [p["state"] for p in clock.points] == ["complete", "rejected"]
    assert [p["accuracy"] for p in clock.points] == [0.5, None]
    assert [p["images"] for p in clock.points] == [3, 3]
    assert clock.points[0]["at"] <= clock.points[1]["at"]
