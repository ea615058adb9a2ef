"""The model behind `joint`, part by part, and the whole against NSGA-II on the made-up network."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulated import SPACES, SimulatedEvaluator, cost_tables, made_up_measures, price
from simulated_search import Setup, digest, run

from spikefront.evaluators.evaluation import Request, State
from spikefront.search.config_sections import GateSection
from spikefront.search.strategies.base import Suggestion
from spikefront.search.strategies.joint.damage import DamageModel
from spikefront.search.strategies.joint.drop_curve import DropCurve
from spikefront.search.strategies.joint.forecast import CostForecast
from spikefront.search.strategies.joint.probes import Probes
from spikefront.search.strategies.joint.sweep import Sweep
from spikefront.search.strategies.joint.worth import Worth, chance_below
from spikefront.svtmodels.cost_tables import total

SPACE = SPACES[-1]


def drawn(count: int, seed: int = 0) -> list[tuple[int, ...]]:
    rng = random.Random(seed)
    return [tuple(rng.randrange(len(a.levels)) for a in SPACE.axes) for _ in range(count)]


def test_tables_of_the_made_up_network_are_its_measures():
    points = drawn(30)
    measured = [made_up_measures(SPACE.decode(point)) for point in points]
    assert total(cost_tables().bytes, points).tolist() == [m["bytes"] for m in measured]
    assert total(cost_tables().macs, points) == pytest.approx([m["macs"] for m in measured], abs=1)


class TestProbes:
    def test_first_the_network_itself_and_every_axis_at_its_lowest(self):
        points = Probes(SPACE).first()
        assert points[0] == SPACE.full
        assert len(points) == 1 + len(SPACE.axes)
        for axis, point in enumerate(points[1:]):
            assert point[axis] == 0
            assert [p for a, p in enumerate(point) if a != axis] == [
                f for a, f in enumerate(SPACE.full) if a != axis
            ]

    def test_second_where_the_lowest_level_harms(self):
        probes = Probes(SPACE)
        for number, point in enumerate(probes.first()):
            probes.note(point, number / 100)
        axes = {
            next(a for a, (p, f) in enumerate(zip(point, SPACE.full, strict=True)) if p != f)
            for point in probes.second()
        }
        harmed = {a for a in range(len(SPACE.axes)) if a >= (len(SPACE.axes) - 1) / 2}
        assert axes == {a for a in harmed if len(SPACE.axes[a].levels) > 3}

    def test_tables_fall_towards_the_full_size_and_hold_what_was_measured(self):
        probes = Probes(SPACE)
        first = probes.first()[1:]
        for point in first:
            probes.note(point, 0.4)
        for point in probes.second():
            probes.note(point, 0.1)
        for axis, table in enumerate(probes.tables()):
            assert table[0] == pytest.approx(0.4)
            assert table[SPACE.full[axis]] == 0
            assert (np.diff(table) <= 1e-12).all()
        bits = next(a for a, axis in enumerate(SPACE.axes) if axis.name.startswith("weight"))
        assert probes.tables()[bits][2] == pytest.approx(0.1)
        # Between two measured levels geometrically, beyond the last by the kind's own decay.
        assert probes.tables()[bits][1] == pytest.approx(0.2)
        assert probes.tables()[bits][3] == pytest.approx(0.05)

    def test_an_axis_whose_probe_failed_is_left_alone(self):
        probes = Probes(SPACE)
        for point in probes.first()[2:]:
            probes.note(point, 0.1)
        tables = probes.tables()
        assert (tables[0][:-1] > 10).all()


class TestDamage:
    TABLES = tuple(np.array([0.4, 0.1, 0.0]) for _ in range(6))

    def test_power_and_scale_are_found(self):
        rng = np.random.default_rng(0)
        points = rng.integers(0, 3, (60, 6))
        sums = np.array([sum(self.TABLES[a][level] for a, level in enumerate(p)) for p in points])
        model = DamageModel(self.TABLES)
        model.learn(points, 0.6 * sums**1.1)
        assert model.divergence(points) == pytest.approx(0.6 * sums**1.1, rel=0.05)

    def test_axes_that_do_more_than_their_probes_said_get_more_weight(self):
        rng = np.random.default_rng(0)
        points = rng.integers(0, 3, (80, 6))
        true = np.array([3.0, 1, 1, 1, 1, 0.3])
        parts = np.array([[self.TABLES[a][level] for a, level in enumerate(p)] for p in points])
        model = DamageModel(self.TABLES)
        before = np.abs(np.log(model.divergence(points) / (0.4 * (parts @ true) ** 1.3 + 1e-9)))
        model.learn(points, 0.4 * (parts @ true) ** 1.3)
        after = np.abs(np.log(model.divergence(points) / (0.4 * (parts @ true) ** 1.3 + 1e-9)))
        assert model.weights[0] > 1.5 * model.weights[1]
        assert model.weights[5] < model.weights[1]
        assert np.median(after) < 0.4 * np.median(before)

    def test_nothing_measured_leaves_it_as_it_was(self):
        model = DamageModel(self.TABLES)
        before = model.divergence([(0, 1, 2, 0, 1, 2)])
        model.learn(np.empty((0, 6)), [])
        assert model.divergence([(0, 1, 2, 0, 1, 2)]) == before


class TestCurve:
    def test_it_rises_and_follows_what_was_measured(self):
        curve = DropCurve()
        x = np.linspace(0, 0.5, 60)
        curve.learn(x, 0.3 * x, np.ones(60))
        assert curve(x) == pytest.approx(0.3 * x, abs=0.02)
        assert (np.diff(curve(np.linspace(0, 3, 50))) >= 0).all()

    def test_spread_is_that_of_the_measurements(self):
        rng = np.random.default_rng(0)
        x = rng.uniform(0, 0.2, 400)
        curve = DropCurve()
        curve.learn(x, 0.3 * x + rng.normal(0, 0.01, 400), np.ones(400))
        assert curve.spread == pytest.approx(0.01, rel=0.15)


class TestSweep:
    def test_every_point_is_on_the_front_of_damage_and_cost_among_single_moves(self):
        tables = cost_tables()
        costs = CostForecast(SPACE, tables, price)
        damages = [np.linspace(0.3, 0, len(a.levels)) / (1 + n) for n, a in enumerate(SPACE.axes)]
        points = Sweep(costs.terms("bytes"), len(SPACE.axes)).front(damages, SPACE.full)
        assert points[0] == SPACE.full
        sizes = total(tables.bytes, points)
        assert (np.diff(sizes) <= 0).all()
        assert sizes[-1] < 0.05 * sizes[0]

    def test_a_price_of_one_gives_the_best_of_all_points(self):
        """Against brute force over three axes; the others stand at their full size."""
        tables = cost_tables()
        costs = CostForecast(SPACE, tables, price)
        free = [n for n, axis in enumerate(SPACE.axes) if axis.name.startswith("weight")][:3]
        damages = [np.full(len(a.levels), 100.0) for a in SPACE.axes]
        for number, axis in enumerate(SPACE.axes):
            damages[number][SPACE.full[number]] = 0
            if number in free:
                damages[number] = np.geomspace(0.1, 1e-4, len(axis.levels))
        front = Sweep(costs.terms("bytes"), len(SPACE.axes)).front(damages, SPACE.full)

        def damage(point: tuple[int, ...]) -> float:
            return sum(float(damages[a][level]) for a, level in enumerate(point))

        every = [list(SPACE.full)]
        for axis in free:
            every = [
                [*p[:axis], level, *p[axis + 1 :]]
                for p in every
                for level in range(len(SPACE.axes[axis].levels))
            ]
        sizes = total(tables.bytes, every)
        for point in front[1:]:
            size = float(total(tables.bytes, [point])[0])
            better = [
                tuple(p)
                for p, s in zip(every, sizes, strict=True)
                if s <= size and damage(tuple(p)) < damage(point) - 1e-12
            ]
            assert not better


class TestForecast:
    def test_firing_that_a_probe_showed_is_carried_over(self):
        costs = CostForecast(SPACE, cost_tables(), price)
        time = next(n for n, axis in enumerate(SPACE.axes) if axis.name == "time:time")
        one = (*SPACE.full[:time], 0, *SPACE.full[time + 1 :])
        expected = costs.ratios("synops", [one])[0]
        costs.note(one, "synops", 1.2 * expected)
        both = list(one)
        other = next(n for n, axis in enumerate(SPACE.axes) if axis.name.startswith("token"))
        both[other] = 0
        alone = (*SPACE.full[:other], 0, *SPACE.full[other + 1 :])
        ratio = costs.ratios("synops", [tuple(both)])[0] / costs.ratios("synops", [alone])[0]
        assert costs.ratios("synops", [one])[0] == pytest.approx(1.2 * expected)
        assert ratio == pytest.approx(1.2 * expected, rel=0.2)

    def test_costs_without_a_table_are_asked_for(self):
        costs = CostForecast(SPACE, cost_tables(), lambda c: {**price(c), "state_bytes": 5.0})
        assert costs.ratios("state_bytes", drawn(3)).tolist() == [1.0, 1.0, 1.0]


class TestWorth:
    def test_the_largest_expected_gain_wins(self):
        front, corner = np.array([[0.1, 0.5], [0.3, 0.2]]), np.array([1.0, 1.0])
        losses = np.array([[0.2, 0.45], [0.2, 0.3], [0.05, 0.9], [0.4, 0.4]])
        assert Worth(front, corner).best(losses, np.ones(4)) == 1
        assert Worth(front, corner).best(losses, np.array([1.0, 0.01, 1.0, 1.0])) in (0, 2)

    def test_nothing_gains_where_all_is_dominated(self):
        front, corner = np.array([[0.1, 0.1]]), np.array([1.0, 1.0])
        assert Worth(front, corner).best(np.array([[0.2, 0.2], [0.1, 0.1]]), np.ones(2)) is None

    def test_chances(self):
        assert chance_below(None, np.array([5.0]), 1.0).tolist() == [1.0]
        chances = chance_below(0.02, np.array([0.02, 0.03, 0.01]), 0.01)
        assert chances == pytest.approx([0.5, 0.1587, 0.8413], abs=1e-3)


def test_probes_come_first_and_are_waited_for():
    strategy = Setup(strategy="joint").make_strategy()
    suggestions: list[Suggestion] = []
    while (suggestion := strategy.suggest(len(suggestions))) is not None:
        suggestions.append(suggestion)
    assert len(suggestions) == 1 + len(SPACE.axes)
    assert all(suggestion.probe for suggestion in suggestions)
    judge = SimulatedEvaluator()
    for index, each in enumerate(suggestions):
        assert strategy.suggest(len(suggestions)) is None
        evaluation = judge(Request(each.candidate, checks=each.checks))
        assert evaluation.state is State.PROBED
        strategy.update(index, evaluation)
    second = strategy.suggest(len(suggestions))
    assert second is not None
    assert second.probe


def test_no_candidate_is_suggested_twice_and_a_window_holds_different_ideas(tmp_path: Path):
    setup = Setup(strategy="joint", window=6).with_budget(60)
    controller = run(setup, tmp_path / "ledger")
    assert controller.counts.hits == 0
    assert controller.counts.evaluations > 60


UNGATED = GateSection(enabled=False)


@pytest.mark.parametrize("max_drop", [None, 0.05])
def test_it_needs_a_fifth_of_the_image_evaluations_of_nsga2(tmp_path: Path, max_drop: float | None):
    """Its worst of three seeds against the mean of three of the other's, probes included."""
    evaluator = SimulatedEvaluator(max_drop=max_drop)
    base = Setup(population=20, evaluator=evaluator, gate=UNGATED)
    reference = {"accuracy": 0.1, "bytes": 131_136}
    theirs, spent = [], []
    for seed in range(3):
        setup = replace(base, strategy="nsga2", seed=seed).with_budget(200)
        controller = run(setup, tmp_path / f"nsga2-{seed}")
        theirs.append(controller.front.hypervolume(reference))
        spent.append(controller.counts.image_evaluations)
    budget = int(np.mean(spent) / 5)
    for seed in range(3):
        setup = replace(base, strategy="joint", seed=seed)
        setup = setup.with_budget(1000, image_evaluations=budget)
        found = run(setup, tmp_path / f"joint-{seed}").front.hypervolume(reference)
        assert found > np.mean(theirs)


def test_a_limit_of_bytes_is_kept(tmp_path: Path):
    evaluator = SimulatedEvaluator(max_drop=None, max_bytes=9_000)
    setup = Setup(strategy="joint", evaluator=evaluator).with_budget(30)
    judged = [e for e in run(setup, tmp_path / "ledger").evaluations if e.state is not State.PROBED]
    assert sum(e.measures["bytes"] <= 9_000 for e in judged) > 0.9 * len(judged)


def test_everything_failing_is_survived(tmp_path: Path):
    setup = Setup(strategy="joint", evaluator=SimulatedEvaluator(failing=1.0)).with_budget(20)
    controller = run(setup, tmp_path / "ledger")
    assert controller.counts.by_state[State.FAILED] > 20


def test_the_trace_is_the_same_with_any_number_of_workers(tmp_path: Path):
    setup = Setup(strategy="joint").with_budget(30)
    digests = set()
    for workers in (1, 2, 8):
        path = tmp_path / str(workers)
        run(setup, path, setup.make_backend(workers=workers, seed=workers, deaths=0.1))
        digests.add(digest(path))
    assert len(digests) == 1
