from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from simulated import SITES, SPACES, SimulatedEvaluator, made_up_measures
from simulated_search import OBJECTIVES, Setup, run

from spikefront.evaluators.evaluation import Evaluation, Request, Stage, State
from spikefront.search.config_sections import GateSection, StrategySection
from spikefront.search.strategies import STRATEGIES, Strategy, build_strategy
from spikefront.spaces import BadInput, Candidate, Granularity, SiteKind, Space

POPULATION = 10
UNGATED = GateSection(enabled=False)


def make(name: str, seed: int = 0, spaces: Sequence[Space] = SPACES) -> Strategy:
    section = StrategySection(name=name, population=POPULATION)
    return build_strategy(spaces, OBJECTIVES, seed, section)


def play(strategy: Strategy, count: int, evaluator: SimulatedEvaluator | None = None) -> list[str]:
    """Keys of the first suggestions, each one evaluated before the next one is asked for."""
    judge = evaluator or SimulatedEvaluator()
    keys = []
    for index in range(count):
        candidate = strategy.suggest(index)
        strategy.update([judge(Request(candidate))])
        keys.append(candidate.key)
    return keys


def test_all_registered_names_build():
    assert set(STRATEGIES) == {"nsga2", "random"}
    for name in STRATEGIES:
        assert isinstance(make(name), Strategy)


def test_unknown_name():
    section = StrategySection.model_construct(name="nsga3", population=10, options={})
    with pytest.raises(BadInput, match=r"unknown strategy 'nsga3'\. Did you mean 'nsga2'"):
        build_strategy(SPACES, OBJECTIVES, 0, section)


@pytest.mark.parametrize("name", STRATEGIES)
def test_unknown_option(name: str):
    section = StrategySection(name=name, options={"pressure": 2, "heat": 3})
    with pytest.raises(BadInput, match=f"'{name}' takes no options, got 'pressure', 'heat'; leave"):
        build_strategy(SPACES, OBJECTIVES, 0, section)


@pytest.mark.parametrize("name", STRATEGIES)
def test_asked_again_it_answers_the_same(name: str):
    asked_once, asked_often = make(name), make(name)
    judge = SimulatedEvaluator()
    for index in range(3 * POPULATION):
        expected = asked_once.suggest(index)
        answers = [asked_often.suggest(index) for _ in range(3)]
        assert answers == [expected] * 3
        for strategy in (asked_once, asked_often):
            strategy.update([judge(Request(expected))])


@pytest.mark.parametrize("name", STRATEGIES)
def test_window_of_open_suggestions_can_be_asked_again(name: str):
    strategy = make(name)
    first = [strategy.suggest(index) for index in range(8)]
    assert [strategy.suggest(index) for index in range(8)] == first


@pytest.mark.parametrize("name", STRATEGIES)
def test_updates_may_come_one_by_one_or_together(name: str):
    judge = SimulatedEvaluator()
    single, grouped = make(name), make(name)
    for start in range(0, 32, 8):
        asked = [single.suggest(index) for index in range(start, start + 8)]
        assert [grouped.suggest(index) for index in range(start, start + 8)] == asked
        evaluations = [judge(Request(candidate)) for candidate in asked]
        grouped.update(evaluations)
        for evaluation in evaluations:
            single.update([evaluation])


@pytest.mark.parametrize("name", STRATEGIES)
def test_seed_decides(name: str):
    assert play(make(name, seed=1), 20) == play(make(name, seed=1), 20)
    assert play(make(name, seed=1), 20) != play(make(name, seed=2), 20)


@pytest.mark.parametrize("name", STRATEGIES)
def test_global_random_state_plays_no_part(name: str):
    random.seed(1)
    first = play(make(name), 20)
    random.seed(2)
    random.random()
    assert play(make(name), 20) == first


_PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from test_strategies import STRATEGIES, make, play
print(json.dumps({name: play(make(name, seed=5), 30) for name in sorted(STRATEGIES)}))
"""


def test_another_process_gives_the_same():
    folder = str(Path(__file__).parent)
    found = subprocess.run(
        [sys.executable, "-c", _PROGRAM, folder],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = {name: play(make(name, seed=5), 30) for name in STRATEGIES}
    assert json.loads(found.stdout) == here


def test_nsga2_begins_with_the_trained_network():
    assert make("nsga2").suggest(0) == Candidate()


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
    first = [strategy.suggest(index) for index in range(POPULATION)]
    coarse = [candidate for candidate in first if candidate.choices and network_wide(candidate)]
    assert len(coarse) >= 2
    assert not all(network_wide(candidate) for candidate in first)


def test_nsga2_searches_a_space_of_one_granularity_too():
    assert len(set(play(make("nsga2", spaces=SPACES[:1]), 40))) == 40


@pytest.mark.parametrize("seed", range(3))
def test_nsga2_does_not_repeat_itself_in_a_large_space(seed: int):
    assert len(set(play(make("nsga2", seed), 150))) == 150


def test_nsga2_does_not_repeat_what_is_still_open():
    strategy = make("nsga2")
    open_at_once = {strategy.suggest(index).key for index in range(5 * POPULATION)}
    assert len(open_at_once) == 5 * POPULATION


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_tiny_space_is_covered_before_it_repeats_for_long(name: str):
    levels = {SiteKind.WEIGHT: (2, 4, 8), SiteKind.TIME: (1, 2, 4)}
    space = Space.build(SITES, Granularity.NETWORK, levels)
    assert space.size == 12
    assert len(set(play(make(name, spaces=(space,)), 100))) == 12


@pytest.mark.parametrize("name", STRATEGIES)
def test_suggestions_are_points_of_the_space(name: str):
    strategy = make(name)
    for index in range(40):
        candidate = strategy.suggest(index)
        assert SPACES[-1].decode(SPACES[-1].encode(candidate)) == candidate
        strategy.update([SimulatedEvaluator()(Request(candidate))])


def test_random_is_uniform_on_every_axis_and_learns_nothing():
    strategy, deaf = make("random"), make("random")
    play(deaf, 400)
    points = [SPACES[-1].encode(strategy.suggest(index)) for index in range(400)]
    assert points[-1] == SPACES[-1].encode(deaf.suggest(399))
    for axis, drawn in zip(SPACES[-1].axes, zip(*points, strict=True), strict=True):
        expected = 400 / len(axis.levels)
        counts = [drawn.count(level) for level in range(len(axis.levels))]
        # Five standard deviations; over about 70 counts none may lie beyond.
        assert max(abs(count - expected) for count in counts) < 5 * expected**0.5


def test_troubles_of_all_kinds_are_survived():
    """FAILED and the like say nothing about the point: they carry no measures."""
    strategy = make("nsga2")
    states = [State.FAILED, State.LOST, State.QUARANTINED, State.COMPLETE]
    for index in range(6 * POPULATION):
        candidate = strategy.suggest(index)
        state = states[index % len(states)]
        measures = made_up_measures(candidate) if state is State.COMPLETE else {}
        strategy.update([Evaluation(candidate, state, Stage.STATIC, measures)])


def test_all_failures_are_survived():
    strategy = make("nsga2")
    for index in range(4 * POPULATION):
        candidate = strategy.suggest(index)
        strategy.update([Evaluation(candidate, State.FAILED, Stage.STATIC, error="broken")])


def hypervolume(tmp_path: Path, setup: Setup) -> float:
    controller = run(setup, tmp_path / f"{setup.strategy}-{setup.seed}")
    return controller.front.hypervolume({"accuracy": 0.1, "bytes": 131_136})


def test_nsga2_finds_more_than_random_search(tmp_path: Path):
    """At an equal budget, and with the worst of its seeds against the best of the others."""
    setup = Setup(population=20, gate=UNGATED).with_budget(150)
    found = {
        name: [hypervolume(tmp_path, replace(setup, strategy=name, seed=n)) for n in range(4)]
        for name in STRATEGIES
    }
    assert min(found["nsga2"]) > 1.01 * max(found["random"])


@pytest.mark.parametrize(
    "evaluator",
    [
        SimulatedEvaluator(max_drop=None, max_bytes=20_000),
        SimulatedEvaluator(max_drop=0.03),
    ],
    ids=["bytes", "drop"],
)
def test_nsga2_learns_to_keep_the_constraint(tmp_path: Path, evaluator: SimulatedEvaluator):
    """Few random points keep it; of the last generations most must."""
    setup = Setup(population=20, evaluator=evaluator, gate=UNGATED).with_budget(160)
    shares = {}
    for name in STRATEGIES:
        late = run(replace(setup, strategy=name), tmp_path / name).evaluations[100:]
        shares[name] = sum(evaluation.feasible for evaluation in late) / len(late)
    assert shares["random"] < 0.2
    assert shares["nsga2"] > 0.6


@pytest.mark.parametrize("name", STRATEGIES)
def test_unordered_updates_are_taken_as_they_come(name: str):
    strategy, judge = make(name), SimulatedEvaluator()
    rng = random.Random(0)
    open_ = {index: strategy.suggest(index) for index in range(8)}
    for index in range(8, 60):
        done = open_.pop(rng.choice(list(open_)))
        strategy.update([judge(Request(done))])
        open_[index] = strategy.suggest(index)
    assert len({candidate.key for candidate in open_.values()}) == 8
