"""Frames of events: spikingjelly's boundaries, whole factors, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_files import Columns, random_events, spikingjelly_functions
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefront.evaluators.data.events.event import make_events
from spikefront.evaluators.data.events.framing import Framing, integrate, shrink
from spikefront.evaluators.data.events.recording import Recording, frames_in_turn
from spikefront.evaluators.data.events.sensor import sensor_size
from spikefront.spaces import BadInput

SIZE = (6, 9)


def frames(events: Columns, framing: Framing) -> np.ndarray:
    return integrate(make_events("made", SIZE, **events), SIZE, framing)


@pytest.mark.parametrize("split_by", ["number", "time"])
@given(count=st.integers(60, 400), steps=st.integers(1, 12), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_frames_are_those_of_spikingjelly(split_by: str, count: int, steps: int, seed: int) -> None:
    events = random_events(count, SIZE, seed, start=seed)
    theirs = spikingjelly_functions("utils")["integrate_events_by_fixed_frames_number"]
    ours = frames(events, Framing(steps, split_by))
    assert np.array_equal(ours, theirs(events, split_by, steps, *SIZE))


def test_fewer_events_than_frames_go_to_the_last_one() -> None:
    events = random_events(3, SIZE)
    ours = frames(events, Framing(5))
    theirs = spikingjelly_functions("utils")["integrate_events_by_fixed_frames_number"]
    assert np.array_equal(ours, theirs(events, "number", 5, *SIZE))
    assert ours.sum((1, 2, 3)).tolist() == [0, 0, 0, 0, 3]


def test_a_span_without_events_is_an_empty_frame() -> None:
    events = random_events(4, SIZE)
    events["t"] = np.array([0, 1, 90, 99])
    assert frames(events, Framing(3, "time")).sum((1, 2, 3)).tolist() == [2, 0, 2]


def test_polarity_row_and_column_of_one_event() -> None:
    one = np.array([1])
    counts = frames({"t": one, "x": one * 7, "y": one * 2, "p": one}, Framing(1))
    assert counts.shape == (1, 2, *SIZE)
    assert [int(axis[0]) for axis in counts.nonzero()] == [0, 1, 2, 7]


def test_downscaling_sums_or_picks() -> None:
    counts = np.arange(2 * 2 * 4 * 6).reshape(2, 2, 4, 6)
    summed = shrink(counts, Framing(downscale=2))
    assert summed.shape == (2, 2, 2, 3)
    assert summed[1, 0, 1, 2] == counts[1, 0, 2:4, 4:6].sum()
    assert summed.sum() == counts.sum()
    picked = shrink(counts, Framing(downscale=2, downscale_by="nearest"))
    assert np.array_equal(picked, counts[:, :, ::2, ::2])
    with pytest.raises(BadInput, match="cannot be downscaled by 4"):
        shrink(counts, Framing(downscale=4))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"steps": 0}, "steps 0"),
        ({"downscale": 0}, "downscale 0"),
        ({"split_by": "numbers"}, "Did you mean 'number'"),
        ({"downscale_by": "mean"}, "unknown downscale_by 'mean'"),
        ({"size": (0, 4)}, "allowed: 1..4096"),
        ({"size": (4, 5000)}, "allowed: 1..4096"),
    ],
)
def test_framings_that_cannot_be(values: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Framing(**values)


def test_frames_hold_the_sensor() -> None:
    assert sensor_size("a", None, (34, 34)) == (34, 34)
    assert sensor_size("a", (48, 64), (34, 34)) == (48, 64)
    assert sensor_size("a", (48, 64), None) == (48, 64)
    with pytest.raises(BadInput, match="give height and width"):
        sensor_size("a", None, None)
    with pytest.raises(BadInput, match="the sensor of a has"):
        sensor_size("a", (48, 33), (34, 34))


def test_ready_frames_keep_their_number_and_size(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    counts = np.random.default_rng(0).integers(0, 9, (4, 2, 8, 8))
    np.savez(path, frames=counts.astype(float))
    got = list(frames_in_turn([Recording(path, 0)], Framing(4, downscale=2)))
    assert np.array_equal(got[0], shrink(counts, Framing(4, downscale=2)))
    with pytest.raises(BadInput, match="holds 4 frames, but steps is 5"):
        list(frames_in_turn([Recording(path, 0)], Framing(5)))
    with pytest.raises(BadInput, match="but height and width are"):
        list(frames_in_turn([Recording(path, 0)], Framing(4, size=(16, 16))))
