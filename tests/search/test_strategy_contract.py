"""What every registered strategy promises, whichever it is."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from played import fitting, judged, make, play

from spikefront.evaluators.evaluation import Evaluation, Stage, State
from spikefront.search.config_sections import StrategySection
from spikefront.search.strategies import STRATEGIES, Strategy, Suggestion, build_strategy
from spikefront.spaces import BadInput

COUNT = {"gp": 12}
"""Suggestions that are played where 30 would take long: a Gaussian process begins at 10."""
OF_CHANCE = ("gp", "nsga2", "nsga3", "optuna", "random", "tpe")
"""Whose seed decides."""


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_can_be_built(name: str):
    assert isinstance(make(name), Strategy)


@pytest.mark.parametrize("name", STRATEGIES)
def test_unknown_option(name: str):
    section = StrategySection.model_construct(name=name, options={"pressure": 2, "heat": 3})
    with pytest.raises(BadInput, match=f"'{name}' takes .*, got 'pressure', 'heat'; leave"):
        build_strategy(fitting(name).make_task(), section)


@pytest.mark.parametrize("name", STRATEGIES)
def test_asked_again_it_answers_the_same(name: str):
    setup = fitting(name)
    asked_once, asked_often = setup.make_strategy(), setup.make_strategy()
    for index in range(COUNT.get(name, 30)):
        expected = asked_once.suggest(index)
        assert [asked_often.suggest(index) for _ in range(3)] == [expected] * 3
        if expected is None:
            break
        for strategy in (asked_once, asked_often):
            strategy.update(index, judged(setup, expected))


@pytest.mark.parametrize("name", STRATEGIES)
def test_window_of_open_suggestions_can_be_asked_again(name: str):
    strategy = make(name)
    first = [strategy.suggest(index) for index in range(8)]
    assert [strategy.suggest(index) for index in range(8)] == first
    # Whoever waits for something waits with all that would come behind it.
    assert None not in first[: 8 - first.count(None)]


@pytest.mark.parametrize("name", STRATEGIES)
def test_global_random_state_plays_no_part(name: str):
    random.seed(1)
    first = play(fitting(name), COUNT.get(name, 30))
    random.seed(2)
    random.random()
    assert play(fitting(name), COUNT.get(name, 30)) == first


@pytest.mark.parametrize("name", OF_CHANCE)
def test_seed_decides(name: str):
    assert play(fitting(name, seed=1), 12) != play(fitting(name, seed=2), 12)


_PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from test_strategy_contract import STRATEGIES, fitting, play
print(json.dumps({name: play(fitting(name, seed=5), 12) for name in sorted(STRATEGIES)}))
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
    here = {name: play(fitting(name, seed=5), 12) for name in STRATEGIES}
    assert json.loads(found.stdout) == here


@pytest.mark.parametrize("name", STRATEGIES)
def test_suggestions_are_candidates_of_the_network(name: str):
    """Methods that know no axes ask for candidates, which need not be points of the space."""
    setup = fitting(name)
    strategy, sites = setup.make_strategy(), {site.key for site in setup.spaces[-1].sites}
    for index in range(COUNT.get(name, 30)):
        suggestion = strategy.suggest(index)
        if suggestion is None:
            break
        assert {(kind, site) for kind, site, _ in suggestion.candidate.choices} <= sites
        strategy.update(index, judged(setup, suggestion))


@pytest.mark.parametrize("name", STRATEGIES)
def test_unordered_updates_are_taken_as_they_come(name: str):
    setup = fitting(name)
    strategy, rng = setup.make_strategy(), random.Random(0)
    open_: dict[int, Suggestion] = {}
    done = index = 0
    while done < COUNT.get(name, 30):
        while len(open_) < 8 and (suggestion := strategy.suggest(index)) is not None:
            open_[index] = suggestion
            index += 1
        if not open_:
            break
        number = rng.choice(list(open_))
        strategy.update(number, judged(setup, open_.pop(number)))
        done += 1
    assert done > 0


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("share", [2, 1])
def test_troubles_are_survived(name: str, share: int):
    """FAILED and the like say nothing about the point: they carry no measures."""
    setup = fitting(name)
    strategy = setup.make_strategy()
    states = [State.FAILED, State.LOST, State.QUARANTINED]
    for index in range(COUNT.get(name, 30)):
        suggestion = strategy.suggest(index)
        if suggestion is None:
            break
        evaluation = judged(setup, suggestion)
        if index % share == 0:
            state = states[index % 3]
            evaluation = Evaluation(suggestion.candidate, state, Stage.STATIC, error="broken")
        strategy.update(index, evaluation)
    outcome = strategy.outcome()
    assert outcome is None or {"chosen", "met", "finished"} <= outcome.keys()


@pytest.mark.parametrize("name", STRATEGIES)
def test_outcomes_are_json_at_any_time(name: str):
    setup = fitting(name)
    strategy = setup.make_strategy()
    keys: list[str | None] = [None]
    for index in range(COUNT.get(name, 30)):
        outcome = strategy.outcome()
        text = json.dumps(outcome, allow_nan=False)
        if outcome is not None:
            assert json.loads(text)["chosen"] in keys
            assert not outcome["met"] or outcome["chosen"] is not None
        suggestion = strategy.suggest(index)
        if suggestion is None:
            break
        keys.append(suggestion.candidate.key)
        strategy.update(index, judged(setup, suggestion))


@pytest.mark.parametrize("name", STRATEGIES)
def test_evaluations_of_others_are_taken_in(name: str):
    """They change nothing about what is asked and counted: the next number is the next number."""
    setup = fitting(name)
    strategy = setup.make_strategy()
    rng = random.Random(1)
    for index in range(12):
        foreign = Suggestion(setup.spaces[-1].sample(rng))
        strategy.learn(judged(setup, foreign))
        suggestion = strategy.suggest(index)
        if suggestion is None:
            break
        strategy.update(index, judged(setup, suggestion))
