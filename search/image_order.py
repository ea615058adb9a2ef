"""What the controller learns about the search images: on which of them candidates differ."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from ..evaluators.evaluation import Evaluation
from ..evaluators.image_order import ImageOrder
from ..evaluators.paired_answers import PairedAnswers

_FIRST = 8
"""Commits before the first version; each further one waits for twice as many."""

_PRIOR = 1.0
"""Evaluations that differ on all images alike, as which ignorance counts."""

_MOST_IMAGES = 80_000
"""Beyond it all images stay alike: the order would not fit into a message of 64 KiB."""


class OrderLearner:
    """Learns, image by image, how often committed candidates and the trained network differ.

    An image's weight is its rate of differing, relative to what the candidates who were asked it
    would show on an average image (each counts alike, whether it differs on 2 % of the images or
    on all). The spread of the test's Z_t for one candidate is smallest at weights in proportion
    to ``|d|``, for many at ``sqrt(E d^2)`` (importance sampling: A. B. Owen, "Monte Carlo theory,
    methods and examples", 2013, chapter 9.1), which would be the root of the rate. The rate
    itself took fewer images on recorded answers of real candidates (`benchmarks/order.py`): the
    candidates that cost most lie close to the limit and differ on few, always the same images.

    Versions follow after 8, 16, 32, ... commits, each with a seed of its own, so that the order
    knows nothing of the draws that its evaluations were made with.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._commits = 0
        self._asked: NDArray[np.float64] | None = None
        self._unlike = np.zeros(0)
        self._order = ImageOrder()

    @property
    def current(self) -> ImageOrder:
        """Latest version; all images alike before the first."""
        return self._order

    def update(self, evaluation: Evaluation) -> None:
        """Take a committed evaluation into account."""
        self._commits += 1
        answers = evaluation.answers
        if answers is not None and answers.images <= _MOST_IMAGES:
            self._note(answers)
        due = self._commits >= _FIRST and self._commits.bit_count() == 1
        if due and self._asked is not None:
            seed = _seed_of(self._seed, self._commits)
            self._order = ImageOrder.of(self._commits, seed, self._rates())

    def _note(self, answers: PairedAnswers) -> None:
        seen, unlike = answers.seen, answers.worse | answers.better
        if not unlike.any():
            return
        if self._asked is None:
            self._asked = np.zeros(answers.images)
            self._unlike = np.zeros(answers.images)
        # Of a part of the images, those that differ often were asked first: hence by their rates.
        rates = self._rates()
        expected = float(rates[seen].sum() / rates.mean())
        self._unlike += unlike * (expected / unlike.sum())
        self._asked += seen * 1.0

    def _rates(self) -> NDArray[np.float64]:
        """Smoothed rate of differing per image; 1 where nothing is known."""
        assert self._asked is not None
        return (self._unlike + _PRIOR) / (self._asked + _PRIOR)


def _seed_of(seed: int, version: int) -> int:
    """48 bits, so that any reader of JSON keeps them."""
    digest = hashlib.sha256(f"image order:{seed}:{version}".encode()).digest()
    return int.from_bytes(digest[:6], "big")
