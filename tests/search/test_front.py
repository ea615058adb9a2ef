from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefront.evaluators.evaluation import Evaluation, Stage, State
from spikefront.search.front import Front, Objective, pareto_mask
from spikefront.spaces.candidate import Candidate
from spikefront.spaces.errors import BadInput, NothingFeasible

ACCURACY = Objective("accuracy", maximise=True)
BYTES = Objective("bytes")
ENERGY = Objective("energy_mj")


def evaluation(
    number: int,
    accuracy: float,
    size: float,
    energy: float = 1.0,
    *,
    state: State = State.COMPLETE,
) -> Evaluation:
    candidate = Candidate((("channel", "block.0.mlp.hidden", number),))
    measures = {"accuracy": accuracy, "bytes": size, "energy_mj": energy}
    return Evaluation(candidate, state, Stage.FULL, measures)


def front_of(rows: list[tuple[float, ...]], *objectives: Objective) -> Front:
    front = Front(objectives or (ACCURACY, BYTES))
    for number, row in enumerate(rows):
        front.add(evaluation(number, *row))
    return front


def numbers(front: Front) -> list[int]:
    return [member.candidate.choices[0][2] for member in front.members]


def number(member: Evaluation) -> int:
    return member.candidate.choices[0][2]


def undominated(rows: list[tuple[float, ...]], maximise: tuple[bool, ...]) -> list[int]:
    """Oracle: by definition, pair by pair."""
    losses = [tuple(-v if up else v for v, up in zip(row, maximise, strict=True)) for row in rows]
    return [
        i
        for i, mine in enumerate(losses)
        if not any(
            (other != mine or j < i) and all(a <= b for a, b in zip(other, mine, strict=True))
            for j, other in enumerate(losses)
        )
    ]


triples = st.tuples(*[st.integers(0, 5).map(float)] * 3)
rows_of_three = st.lists(triples, max_size=25)


@settings(max_examples=200)
@given(rows=rows_of_three)
def test_three_objectives_match_the_definition(rows: list[tuple[float, ...]]):
    front = front_of(rows, ACCURACY, BYTES, ENERGY)
    expected = undominated(rows, (True, False, False))
    assert sorted(numbers(front)) == expected
    mask = pareto_mask(np.array(rows).reshape(-1, 3), (True, False, False))
    assert np.flatnonzero(mask).tolist() == expected


@settings(max_examples=200)
@given(rows=rows_of_three)
def test_two_objectives_match_the_definition(rows: list[tuple[float, ...]]):
    pairs = [row[:2] for row in rows]
    expected = undominated(pairs, (True, False))
    assert sorted(numbers(front_of(rows))) == expected
    mask = pareto_mask(np.array(pairs).reshape(-1, 2), (True, False))
    assert np.flatnonzero(mask).tolist() == expected


@settings(max_examples=100)
@given(rows=rows_of_three, order=st.randoms(use_true_random=False))
def test_the_vectors_do_not_depend_on_the_order(rows: list[tuple[float, ...]], order):
    shuffled = order.sample(rows, len(rows))
    kept, again = (
        {tuple(m.measures.values()) for m in front_of(r, ACCURACY, BYTES, ENERGY).members}
        for r in (rows, shuffled)
    )
    assert kept == again


@settings(max_examples=50)
@given(rows=rows_of_three)
def test_add_says_whether_it_entered(rows: list[tuple[float, ...]]):
    front = Front((ACCURACY, BYTES, ENERGY))
    for index, row in enumerate(rows):
        entered = front.add(evaluation(index, *row))
        assert entered == (index in numbers(front))


@pytest.mark.parametrize("objectives", [2, 3])
def test_fifty_thousand_points_match_the_mask(objectives: int):
    rng = np.random.default_rng(objectives)
    # On a thin shell, so that hundreds of points are on the front.
    points = np.abs(rng.normal(size=(50_000, objectives)))
    points = 2 - points / np.linalg.norm(points, axis=1, keepdims=True)
    points += rng.random((50_000, 1)) * 0.2
    points[:, 0] *= -1
    chosen = (ACCURACY, BYTES, ENERGY)[:objectives]
    front = Front(chosen)
    for index, row in enumerate(points.tolist()):
        front.add(evaluation(index, *row))
    mask = pareto_mask(points, [o.maximise for o in chosen])
    assert len(front) > 50
    assert sorted(numbers(front)) == np.flatnonzero(mask).tolist()


def test_members_are_ascending_in_bytes_then_by_key():
    rows = [(0.9, 300, 1), (0.7, 100, 9), (0.8, 200, 5), (0.6, 100, 4), (0.65, 100, 7)]
    members = front_of(rows, ACCURACY, BYTES, ENERGY).members
    assert [m.measures["bytes"] for m in members] == [100, 100, 100, 200, 300]
    assert [m.key for m in members[:3]] == sorted(m.key for m in members[:3])


def test_of_equal_vectors_the_first_stays():
    front = Front((ACCURACY, BYTES))
    assert front.add(evaluation(1, 0.9, 100, energy=5))
    assert not front.add(evaluation(2, 0.9, 100, energy=1))
    assert numbers(front) == [1]


@pytest.mark.parametrize("state", [s for s in State if s is not State.COMPLETE])
def test_only_feasible_evaluations_enter(state: State):
    front = Front((ACCURACY, BYTES))
    assert not front.add(evaluation(1, 0.9, 100, state=state))
    assert len(front) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_measures_that_are_not_finite_never_enter(bad: float, place: int):
    row = [0.9, 100.0]
    row[place] = bad
    front = Front((ACCURACY, BYTES))
    assert not front.add(evaluation(1, *row))
    assert front.add(evaluation(2, 0.1, 900))
    mask = pareto_mask([row, [0.1, 900]], (True, False))
    assert mask.tolist() == [False, True]


def test_a_misspelt_objective_is_named():
    front = Front((Objective("acuracy", maximise=True), BYTES))
    with pytest.raises(BadInput, match=r"'acuracy'\. Did you mean 'accuracy'"):
        front.add(evaluation(1, 0.9, 100))


@pytest.mark.parametrize("objectives", [(), (BYTES, Objective("bytes", maximise=True))])
def test_objectives_must_differ(objectives: tuple[Objective, ...]):
    with pytest.raises(BadInput, match="different names"):
        Front(objectives)


def test_hypervolume_in_the_objectives_own_units():
    front = front_of([(0.9, 300), (0.5, 100), (0.1, 500)])
    # 0.9 over bytes 300..400, 0.5 over 100..300; the third point lies beyond the reference.
    assert front.hypervolume({"bytes": 400, "accuracy": 0.0}) == pytest.approx(90 + 100)
    assert Front((ACCURACY, BYTES)).hypervolume({"bytes": 1, "accuracy": 0}) == 0


def test_hypervolume_needs_a_value_per_objective():
    with pytest.raises(BadInput, match=r"lacks \['accuracy'\]"):
        front_of([(0.9, 300)]).hypervolume({"bytes": 400})


def test_extremes_prefer_the_better_of_equals():
    rows = [(0.8, 100, 1), (0.9, 100, 3), (0.95, 200, 5), (0.95, 300, 4)]
    front = front_of(rows, ACCURACY, BYTES, ENERGY)
    assert len(front) == 4
    assert number(front.smallest()) == 1
    assert number(front.most_accurate()) == 2


@pytest.mark.parametrize(
    ("rows", "knee"),
    [
        ([(0.9, 100)], 0),
        ([(0.5, 100), (0.9, 900)], 1),
        ([(0.5, 100), (0.85, 200), (0.88, 500), (0.9, 900)], 1),
        ([(0.5, 100), (0.6, 200), (0.8, 300), (0.9, 900)], 2),
        ([(0.5, 100), (0.55, 700), (0.6, 800), (0.9, 900)], 3),
        ([(0.0, 0), (0.75, 2), (0.5, 1), (1.0, 4)], 1),
    ],
    ids=["one", "two", "early bend", "late bend", "hollow", "equally far"],
)
def test_knee(rows: list[tuple[float, ...]], knee: int):
    assert number(front_of(rows).knee()) == knee


def test_knee_does_not_depend_on_units():
    rows = [(0.5, 100.0), (0.7, 150.0), (0.85, 200.0), (0.88, 500.0), (0.9, 900.0)]
    scaled = [(accuracy * 100, size * 1e6) for accuracy, size in rows]
    assert number(front_of(rows).knee()) == number(front_of(scaled).knee()) == 2


def test_knee_ignores_members_that_only_save_energy():
    rows = [(0.5, 100, 9), (0.8, 200, 9), (0.9, 900, 9), (0.1, 850, 0.1)]
    front = front_of(rows, ACCURACY, BYTES, ENERGY)
    assert len(front) == 4
    assert number(front.knee()) == 1


@pytest.mark.parametrize("question", ["smallest", "most_accurate", "knee"])
def test_an_empty_front_has_no_answer(question: str):
    with pytest.raises(NothingFeasible, match="no evaluation met the constraints"):
        getattr(Front((ACCURACY, BYTES)), question)()


@pytest.mark.parametrize("points", [[1.0, 2.0], [[1.0, 2.0, 3.0]]])
def test_mask_refuses_shapes_that_do_not_fit(points: object):
    with pytest.raises(BadInput, match=r"give \[N, 2\]"):
        pareto_mask(points, (True, False))  # type: ignore[arg-type]


def test_mask_of_one_objective_is_the_first_best_row():
    assert pareto_mask([[3.0], [5.0], [5.0]], [True]).tolist() == [False, True, False]
