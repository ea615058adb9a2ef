from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spikefront.evaluators.paired_answers import PairedAnswers


@given(st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.booleans()), max_size=60))
def test_record_of_what_was_seen(images: list[tuple[int, bool]]) -> None:
    differences = np.array([d for d, _ in images], np.int64)
    seen = np.array([s for _, s in images], np.bool_)
    record = PairedAnswers.of(differences, np.flatnonzero(seen))
    back = PairedAnswers.from_dict(json.loads(json.dumps(record.to_dict())))
    assert back == record
    assert back.images == len(images)
    np.testing.assert_array_equal(back.seen, seen)
    np.testing.assert_array_equal(back.worse, seen & (differences == 1))
    np.testing.assert_array_equal(back.better, seen & (differences == -1))


def test_it_takes_a_third_of_a_byte_per_image() -> None:
    record = PairedAnswers.of(np.ones(2_000, np.int64), np.arange(2_000))
    assert len(record.codes) <= 2_000 / 3 + 4
