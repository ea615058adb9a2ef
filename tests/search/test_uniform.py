from __future__ import annotations

import itertools
from dataclasses import replace

from made_up_pruning import Network
from simulated import SPACES, price
from simulated_search import Setup

from spikefront.search.strategies import Task
from spikefront.search.strategies.uniform import Uniform
from spikefront.spaces import Candidate, SiteKind


def all_of(task: Task) -> list[Candidate]:
    strategy, found = Uniform(task), []
    while (suggestion := strategy.suggest(len(found))) is not None:
        assert suggestion.checks is None
        found.append(suggestion.candidate)
    return found


def test_every_kind_alone_then_all_combinations_by_falling_bytes():
    space = SPACES[0]
    found = all_of(Setup().make_task())
    every = [range(len(axis.levels)) for axis in space.axes]
    combinations = {space.decode(point).key for point in itertools.product(*every)}
    assert len(found) == len({candidate.key for candidate in found}) == len(combinations)
    assert {candidate.key for candidate in found} == combinations
    alone = 1 + sum(len(axis.levels) - 1 for axis in space.axes)
    assert found[0] == Candidate()
    assert all(len(candidate.to_dict()) == 1 for candidate in found[1:alone])
    assert all(len(candidate.to_dict()) > 1 for candidate in found[alone:])
    sizes = [price(candidate)["bytes"] for candidate in found[alone:]]
    assert sizes == sorted(sizes, reverse=True)


def test_each_kind_goes_from_mild_to_harsh():
    bits = [
        set(candidate.to_dict()["weight"].values())
        for candidate in all_of(Setup().make_task())[1:]
        if list(candidate.to_dict()) == ["weight"]
    ]
    assert bits == [{8}, {6}, {4}, {3}, {2}]


def test_combinations_are_priced_as_they_are_needed():
    priced: list[str] = []

    def counted(candidate: Candidate) -> dict[str, float]:
        priced.append(candidate.key)
        return price(candidate)

    task = Setup().make_task()
    strategy = Uniform(replace(task, price=counted))
    alone = 1 + sum(len(axis.levels) - 1 for axis in SPACES[0].axes)
    for index in range(alone):
        strategy.suggest(index)
    assert priced == []
    for index in range(alone, alone + 20):
        strategy.suggest(index)
    assert 0 < len(priced) < SPACES[0].size / 2
    assert len(set(priced)) == len(priced)


def test_asked_again_and_judged_by_the_searchs_own_stages():
    strategy = Uniform(Setup().make_task())
    first = [strategy.suggest(index) for index in range(30)]
    assert [strategy.suggest(index) for index in range(30)] == first
    assert strategy.outcome() is None


def test_a_space_of_one_axis_ends():
    space = SPACES[0]
    axis = next(axis for axis in space.axes if axis.kind is SiteKind.CHANNEL)
    alone = type(space)(space.granularity, (axis,), space.sites)
    network = Network([alone])
    assert len(network.play(Uniform(network.task))) == len(axis.levels)
