"""The registry, random search and NSGA-II."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from played import POPULATION, asked, fitting, make, play
from simulated import SITES, SPACES, SimulatedEvaluator
from simulated_search import Setup, run

from spikefront.evaluators.evaluation import PROBE, Request
from spikefront.search.config_sections import GateSection, StrategySection
from spikefront.search.strategies import build_strategy
from spikefront.spaces import BadInput, Candidate, Granularity, SiteKind, Space

UNGATED = GateSection(enabled=False)
SAMPLERS = ("nsga2", "nsga3", "random", "tpe")
"""Those that take any space and go on for ever."""


def test_unknown_name():
    section = StrategySection.model_construct(name="nsga4", population=10, options={})
    with pytest.raises(BadInput, match=r"unknown strategy 'nsga4'\. Did you mean 'nsga"):
        build_strategy(fitting("random").make_task(), section)


def test_nsga2_begins_with_the_trained_network():
    assert asked(make("nsga2"), 0) == Candidate()


def network_wide(candidate: Candidate) -> bool:
    """Whether a candidate can be said by one choice per kind for the whole network."""
    try:
        SPACES[0].encode(candidate)
    except BadInput:
        return False
    return True


@pytest.mark.parametrize("seed", range(5))
def test_nsga2_first_generation_is_drawn_at_all_granularities(seed: int):
    strategy = make("nsga2", seed)
    first = [asked(strategy, index) for index in range(POPULATION)]
    coarse = [candidate for candidate in first if candidate.choices and network_wide(candidate)]
    assert len(coarse) >= 2
    assert not all(network_wide(candidate) for candidate in first)


def test_nsga2_searches_a_space_of_one_granularity_too():
    assert len(set(play(fitting("nsga2", spaces=SPACES[:1]), 40))) == 40


@pytest.mark.parametrize("name", ["nsga2", "nsga3", "tpe"])
@pytest.mark.parametrize("seed", range(2))
def test_no_repetition_in_a_large_space(name: str, seed: int):
    assert len(set(play(fitting(name, seed), 100))) == 100


@pytest.mark.parametrize("name", ["nsga2", "nsga3", "tpe"])
def test_no_repetition_of_what_is_still_open(name: str):
    strategy = make(name)
    open_at_once = {asked(strategy, index).key for index in range(5 * POPULATION)}
    assert len(open_at_once) == 5 * POPULATION


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_tiny_space_is_covered_before_it_repeats_for_long(name: str):
    levels = {SiteKind.WEIGHT: (2, 4, 8), SiteKind.TIME: (1, 2, 4)}
    space = Space.build(SITES, Granularity.NETWORK, levels)
    assert space.size == 12
    assert len(set(play(fitting(name, spaces=(space,)), 100))) == 12


@pytest.mark.parametrize("name", SAMPLERS)
def test_suggestions_are_points_of_the_space(name: str):
    setup = fitting(name)
    strategy = setup.make_strategy()
    for index in range(40):
        candidate = asked(strategy, index)
        assert SPACES[-1].decode(SPACES[-1].encode(candidate)) == candidate
        strategy.update(index, setup.evaluator(Request(candidate)))


def test_random_is_uniform_on_every_axis_and_learns_nothing():
    strategy = make("random")
    points = [SPACES[-1].encode(asked(strategy, index)) for index in range(400)]
    assert [SPACES[-1].decode(point).key for point in points] == play(fitting("random"), 400)
    for axis, drawn in zip(SPACES[-1].axes, zip(*points, strict=True), strict=True):
        expected = 400 / len(axis.levels)
        counts = [drawn.count(level) for level in range(len(axis.levels))]
        # Five standard deviations; over about 70 counts none may lie beyond.
        assert max(abs(count - expected) for count in counts) < 5 * expected**0.5


@pytest.mark.parametrize("name", ["nsga2", "nsga3", "tpe"])
def test_probes_are_not_learned_from(name: str):
    """They lack what a sampler learns from, and say nothing about feasibility."""
    setup = fitting(name)
    plain, probed = setup.make_strategy(), setup.make_strategy()
    for index in range(25):
        candidate = asked(plain, index)
        assert asked(probed, index) == candidate
        evaluation = setup.evaluator(Request(candidate))
        plain.update(index, evaluation)
        probed.learn(_probe(setup, index))
        probed.update(index, evaluation)


def _probe(setup: Setup, number: int):
    """What a probe of some candidate says."""
    candidate = Candidate.of({SITES[0]: 1 + number % 4})
    return setup.evaluator(Request(candidate, checks=PROBE))


def hypervolume(tmp_path: Path, setup: Setup) -> float:
    controller = run(setup, tmp_path / f"{setup.strategy}-{setup.seed}")
    return controller.front.hypervolume({"accuracy": 0.1, "bytes": 131_136})


def test_samplers_find_more_than_random_search(tmp_path: Path):
    """At an equal budget; genetic ones with the worst seed against the best of the others."""
    setup = Setup(population=20, gate=UNGATED).with_budget(150)
    found = {
        name: [hypervolume(tmp_path, replace(setup, strategy=name, seed=n)) for n in range(3)]
        for name in SAMPLERS
    }
    for name in ("nsga2", "nsga3"):
        assert min(found[name]) > 1.01 * max(found["random"]), name
    assert sorted(found["tpe"])[1] > 1.03 * sorted(found["random"])[1]


@pytest.mark.parametrize(
    "evaluator",
    [
        SimulatedEvaluator(max_drop=None, max_bytes=20_000),
        SimulatedEvaluator(max_drop=0.03),
    ],
    ids=["bytes", "drop"],
)
def test_samplers_learn_to_keep_the_constraint(tmp_path: Path, evaluator: SimulatedEvaluator):
    """Few random points keep it; of the last generations most must."""
    setup = Setup(population=20, evaluator=evaluator, gate=UNGATED).with_budget(160)
    shares = {}
    for name in SAMPLERS:
        late = run(replace(setup, strategy=name), tmp_path / name).evaluations[100:]
        shares[name] = sum(evaluation.feasible for evaluation in late) / len(late)
    assert shares["random"] < 0.2
    for name in ("nsga2", "nsga3", "tpe"):
        assert shares[name] > 0.6, shares
