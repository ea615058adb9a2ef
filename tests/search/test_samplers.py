"""NSGA-III, TPE, Gaussian processes, and any sampler of Optuna by its class name."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from played import asked, fitting, play
from simulated import SITES, SPACES
from simulated_search import OBJECTIVES, Setup, digest, run

from spikefront.evaluators.evaluation import Evaluation, Request, Stage, State
from spikefront.search.front import Objective
from spikefront.search.strategies import Task
from spikefront.search.strategies.any_sampler import SAMPLERS, AnySampler
from spikefront.search.strategies.nsga3 import divisions
from spikefront.search.strategies.optuna_strategy import OptunaStrategy
from spikefront.search.strategies.surrogates import Tpe
from spikefront.spaces import BadInput, Granularity, SiteKind, Space

NEEDED: dict[str, dict[str, Any]] = {
    "GridSampler": {"search_space": {axis.name: [0, 1, 2] for axis in SPACES[0].axes}},
    "GPSampler": {"n_startup_trials": 5},
}
TINY = Space.build(SITES, Granularity.NETWORK, {SiteKind.WEIGHT: (2, 4, 8), SiteKind.TIME: (2, 4)})


def sampler(name: str, seed: int = 0, **changes: Any) -> Setup:
    options = {"sampler": name, "arguments": NEEDED.get(name, {})}
    return replace(fitting("optuna", seed, **{"spaces": SPACES[:1], **changes}), options=options)


@pytest.mark.parametrize("name", sorted(SAMPLERS.keys() - {"CmaEsSampler"}))
def test_every_class_works_and_is_seeded(name: str):
    first = play(sampler(name), 10)
    assert play(sampler(name), 10) == first
    assert len(set(first)) == 10


@pytest.mark.parametrize("name", ["BruteForceSampler", "RandomSampler", "TPESampler"])
def test_a_space_that_is_used_up_is_no_error(name: str):
    setup = sampler(name, spaces=(TINY,))
    assert len(set(play(setup, 40))) == TINY.size


def test_optuna_genetic_sampler_gets_beyond_its_first_generation():
    """What it drew is told as a trial of its own, and must count to the generation it is of."""
    setup = replace(
        sampler("NSGAIISampler"),
        options={"sampler": "NSGAIISampler", "arguments": {"population_size": 4}},
    )
    strategy = setup.make_strategy()
    assert isinstance(strategy, OptunaStrategy)
    for index in range(20):
        suggestion = strategy.suggest(index)
        assert suggestion is not None
        strategy.update(index, setup.evaluator(Request(suggestion.candidate)))
    trials = [t for t in strategy._study.trials if t.values is not None]
    generations = {t.system_attrs.get("NSGAIISampler:generation") for t in trials}
    assert generations == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, r"unknown sampler of Optuna 'None'"),
        ({"sampler": "TPEsampler"}, r"Did you mean 'TPESampler'\?"),
        ({"sampler": "PartialFixedSampler"}, r"unknown sampler of Optuna"),
        ({"sampler": "os.system"}, r"unknown sampler of Optuna"),
        ({"sampler": "TPESampler", "arguments": {"n_startup": 3}}, "'n_startup_trials'"),
        ({"sampler": "TPESampler", "arguments": {"constraints_func": 1}}, "unknown argument"),
        ({"sampler": "TPESampler", "arguments": [3]}, "give {name: value}"),
        ({"sampler": "GridSampler"}, "GridSampler cannot be built from"),
        ({"sampler": "NSGAIISampler", "arguments": {"population_size": 1}}, "cannot be built"),
        ({"sampler": "CmaEsSampler"}, r"one objective, and this search has accuracy, bytes"),
    ],
)
def test_what_an_optuna_sampler_cannot_be(options: dict[str, Any], says: str):
    setup = replace(fitting("optuna"), options=options)
    with pytest.raises(BadInput, match=says):
        setup.make_strategy()


def test_a_sampler_whose_package_is_missing_is_refused():
    """CMA-ES needs one that is not installed with this project."""
    if importlib.util.find_spec("cmaes") is not None:
        pytest.skip("the package is installed here")
    task = replace(Setup().make_task(), objectives=OBJECTIVES[:1])
    with pytest.raises(BadInput, match="CmaEsSampler needs the package cmaes"):
        AnySampler(task, "CmaEsSampler", {})


def test_gaussian_processes_refuse_many_axes():
    assert len(SPACES[2].axes) == 13
    with pytest.raises(BadInput, match=r"at most 12 axes, and this space has 13; .*'tpe'"):
        Setup("gp", spaces=SPACES[:3]).make_strategy()


@pytest.mark.parametrize("startup", [0, 2.5, "3", True])
def test_a_startup_that_is_no_count(startup: object):
    with pytest.raises(BadInput, match=r"strategy.options.startup is .*; give a whole number"):
        replace(fitting("tpe"), options={"startup": startup}).make_strategy()


def test_gaussian_processes_beat_structured_draws(tmp_path: Path):
    """After ten draws, six suggestions of its own enlarge the front more than six more draws."""
    found = {}
    for startup in (10, 16):
        setup = replace(fitting("gp"), options={"startup": startup}, window=1).with_budget(16)
        front = run(setup, tmp_path / f"{startup}").front
        found[startup] = front.hypervolume({"accuracy": 0.1, "bytes": 131_136})
    assert found[10] > found[16]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("population", [4, 20, 40, 91])
def test_reference_points_are_about_as_many_as_members(objectives: int, population: int):
    """Of a grid with p parts per axis: the number of ways to share p among M."""

    def points(parts: int) -> int:
        return math.comb(objectives + parts - 1, parts)

    parts = divisions(objectives, population)
    assert parts >= 1
    assert objectives == 1 or points(parts) <= population or parts == 1
    assert objectives == 1 or points(parts + 1) > population


def test_three_objectives(tmp_path: Path):
    objectives = (*OBJECTIVES, Objective("synops"))
    for name in ("nsga3", "tpe"):
        setup = fitting(name, objectives=objectives).with_budget(40)
        one, two = (run(setup, tmp_path / f"{name}-{n}") for n in range(2))
        assert digest(tmp_path / f"{name}-0") == digest(tmp_path / f"{name}-1")
        assert len(one.front) == len(two.front) > 3


def test_a_measure_that_was_never_reached_is_told_as_the_worst_so_far():
    task = Setup().make_task()
    strategy = Tpe(replace_objectives(task), 5)
    told = [
        (State.COMPLETE, {"bytes": 10, "accuracy": 0.9, "synops": 5.0}),
        (State.COMPLETE, {"bytes": 30, "accuracy": 0.7, "synops": 2.0}),
        (State.REJECTED, {"bytes": 20}),
    ]
    for index, (state, measures) in enumerate(told):
        candidate = asked(strategy, index)
        violation = 0.0 if state is State.COMPLETE else 0.4
        strategy.update(
            index, Evaluation(candidate, state, Stage.FULL, measures, violation=violation)
        )
    complete = [t for t in strategy._study.trials if t.values is not None]
    assert [t.values for t in complete] == [[0.9, 10, 5.0], [0.7, 30, 2.0], [0.7, 20, 5.0]]
    assert [t.constraints for t in complete] == [
        {"violation": 0.0},
        {"violation": 0.0},
        {"violation": 0.4},
    ]


def replace_objectives(task: Task) -> Task:
    return replace(task, objectives=(*OBJECTIVES, Objective("synops")))


def test_what_is_open_is_shown_to_surrogates_and_taken_back():
    setup = fitting("tpe")
    strategy = setup.make_strategy()
    assert isinstance(strategy, Tpe)
    for index in range(4):
        asked(strategy, index)
    running = [t for t in strategy._study.trials if t.state.name == "RUNNING"]
    space = setup.spaces[-1]
    shown = [space.decode([t.params[a.name] for a in space.axes]) for t in running]
    assert shown == [asked(strategy, index) for index in range(4)]
    strategy.update(1, setup.evaluator(Request(shown[1])))
    running = [t for t in strategy._study.trials if t.state.name == "RUNNING"]
    assert len(running) == 3
