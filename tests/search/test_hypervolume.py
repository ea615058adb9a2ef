from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from optuna._hypervolume import compute_hypervolume

from spikefront.search.hypervolume import hypervolume
from spikefront.spaces.errors import BadInput


@st.composite
def clouds(draw: st.DrawFn, largest: int = 5) -> np.ndarray:
    """Points in [0, 1]; coarse grids make ties and copies common."""
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, largest)))
    grid = draw(st.sampled_from([2, 4, 1000]))
    return draw(arrays(np.int64, shape, elements=st.integers(0, grid))) / grid


@settings(max_examples=300)
@given(points=clouds())
def test_agrees_with_an_independent_implementation(points: np.ndarray):
    reference = np.ones(points.shape[1])
    expected = compute_hypervolume(points, reference)
    assert hypervolume(points, reference) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
def test_agrees_on_a_large_front(objectives: int):
    rng = np.random.default_rng(objectives)
    points = np.abs(rng.normal(size=(60, objectives)))
    points = 1 - points / np.linalg.norm(points, axis=1, keepdims=True)
    reference = np.full(objectives, 1.1)
    expected = compute_hypervolume(points, reference)
    assert hypervolume(points, reference) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=100)
@given(points=clouds(4))
def test_equals_the_count_of_dominated_cells(points: np.ndarray):
    coarse = np.floor(points * 3)
    cells = itertools.product(range(3), repeat=points.shape[1])
    covered = sum(bool((coarse <= cell).all(axis=1).any()) for cell in cells)
    assert hypervolume(coarse, np.full(points.shape[1], 3.0)) == pytest.approx(covered)


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        ([[2.0], [5.0]], [6.0], 4),
        ([[1, 3], [2, 2], [3, 1]], [4, 4], 6),
        ([[1, 3], [1, 3], [2, 3.5], [3, 1]], [4, 4], 5),
        ([[0, 0, 0]], [1, 2, 3], 6),
        ([[0, 0, 1], [1, 1, 0]], [2, 2, 2], 5),
        ([[0, 1, 1, 1], [1, 0, 1, 1]], [2, 2, 2, 2], 3),
    ],
)
def test_by_hand(points: list[list[float]], reference: list[float], volume: float):
    assert hypervolume(points, reference) == pytest.approx(volume)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_points_beyond_the_reference_contribute_nothing(objectives: int):
    inside = np.full((1, objectives), 0.5)
    outside = np.zeros((3, objectives))
    outside[:, 0] = [1.0, 7.0, np.inf]
    reference = np.ones(objectives)
    both = hypervolume(np.vstack([outside, inside]), reference)
    assert both == pytest.approx(0.5**objectives)
    assert hypervolume(outside, reference) == 0


@pytest.mark.parametrize("points", [[], np.empty((0, 2))])
def test_no_points_have_no_volume(points: object):
    assert hypervolume(points, [1, 1]) == 0  # type: ignore[arg-type]


@settings(max_examples=100)
@given(points=clouds(4), extra=clouds(4), seed=st.integers(0, 99))
def test_grows_with_points_and_not_with_their_order(
    points: np.ndarray, extra: np.ndarray, seed: int
):
    objectives = min(points.shape[1], extra.shape[1])
    few, more = points[:, :objectives], extra[:, :objectives]
    union = np.vstack([few, more])
    reference = np.full(objectives, 1.5)
    volume = hypervolume(union, reference)
    assert volume >= hypervolume(few, reference) - 1e-12
    shuffled = np.random.default_rng(seed).permutation(union)
    assert hypervolume(shuffled, reference) == pytest.approx(volume)


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_undefined_points_are_refused(bad: float, objectives: int):
    points = np.zeros((2, objectives))
    points[1, -1] = bad
    with pytest.raises(BadInput, match="NaN or minus infinity"):
        hypervolume(points, np.ones(objectives))


@pytest.mark.parametrize("reference", [[1, math.nan], [1, math.inf], [], 3.0])
def test_unusable_references_are_refused(reference: object):
    with pytest.raises(BadInput, match="one finite number per objective"):
        hypervolume([[0, 0]], reference)  # type: ignore[arg-type]


@pytest.mark.parametrize("points", [[[1, 2, 3]], [1, 2]])
def test_shapes_must_fit(points: object):
    with pytest.raises(BadInput, match="do not fit"):
        hypervolume(points, [9, 9])  # type: ignore[arg-type]
