"""How the search images judge a candidate: until a test is sure, or all of them.

Of all of them the mean cross-entropy [nats] is noted, too: it tells what a candidate loses on other
images better than the share of right answers does, which jumps with every image.
"""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..svtmodels.engine.prefix import Images
from .data.dataset import ImageData
from .data.preprocessing import Preprocessing
from .evaluation import Checks, Rejection, Stage
from .evaluation_run import EvaluationRun
from .image_order import Draw, draw_images
from .paired_answers import PairedAnswers
from .runner import Runner
from .sequential import DropTest


class SearchStage:
    """Asks candidates the search images.

    Args:
        images: of the search split.
        preprocessing: from pixels to input.
        parent_right: whether the trained network is right, bool per image.
        batch_size: images per pass.
        alpha: error level of the sequential test.
    """

    def __init__(
        self,
        images: ImageData,
        preprocessing: Preprocessing,
        parent_right: NDArray[np.bool_],
        batch_size: int,
        alpha: float,
    ) -> None:
        self._images = images
        self._preprocessing = preprocessing
        self._parent_right = parent_right
        self._batch = batch_size
        self._alpha = alpha

    @property
    def accuracy(self) -> float:
        """Of the trained network."""
        return float(self._parent_right.mean())

    @torch.inference_mode()
    def __call__(self, run: EvaluationRun, runner: Runner, allowed: float | None) -> bool:
        """Ask the images; False if that ended before the last of them, with a rejection.

        Args:
            run: where everything is noted.
            runner: of the candidate's network.
            allowed: drop that is still of interest; None: any is.
        """
        checks = run.request.checks
        if checks is not None:
            return self._checked(run, runner, checks)
        draw = draw_images(run.request.gate.order, run.candidate.key, self._parent_right)
        if allowed is None or run.rejection is not None:
            self._ask_all(run, runner)
            return True
        test = DropTest(allowed, draw.weights, draw.parent_right, self._alpha)
        if run.obeys:
            return self._until_sure(run, runner, draw, test)
        differences = self._ask_all(run, runner)
        test.update(differences[draw.order])
        self._says_no(run, test)
        return True

    def _until_sure(self, run: EvaluationRun, runner: Runner, draw: Draw, test: DropTest) -> bool:
        differences = np.zeros(len(draw.order), np.int64)
        for rows in _cut(draw.order, self._batch):
            differences[rows] = self._ask(run, runner, rows)
            test.update(differences[rows])
            if self._says_no(run, test):
                self._note_estimate(run, test, draw, differences)
                return False
        self._note_means(run, differences, draw.order)
        return True

    def _checked(self, run: EvaluationRun, runner: Runner, checks: Checks) -> bool:
        first = min(checks.subset, len(self._images))
        if not first:
            self._ask_all(run, runner)
            return True
        # In the batches of the trained network, but for the one that the subset ends in.
        order = np.arange(len(self._images))
        batches = _cut(order, self._batch, first)
        differences = np.zeros(len(order), np.int64)
        for rows in batches:
            differences[rows] = self._ask(run, runner, rows)
            drop = float(differences[:first].sum()) / first
            if rows[-1] == first - 1 and drop > checks.subset_drop:
                self._note_means(run, differences, order[:first])
                run.rejection = Rejection(Stage.SUBSET, drop, checks.subset_drop)
                return False
        self._note_means(run, differences, order)
        return True

    def _ask_all(self, run: EvaluationRun, runner: Runner) -> NDArray[np.int64]:
        """Differences [N] on all images as they lie, in the batches of the trained network."""
        order = np.arange(len(self._images))
        parts = [self._ask(run, runner, rows) for rows in _cut(order, self._batch)]
        differences = np.concatenate(parts)
        self._note_means(run, differences, order)
        return differences

    def _ask(
        self, run: EvaluationRun, runner: Runner, rows: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Whether the trained network is right minus whether the candidate is, per image."""
        images, labels = self._take(rows)
        started = time.perf_counter()
        logits = runner(images, Images("search", rows))
        right = (logits.argmax(1) == labels).numpy()
        run.latency += time.perf_counter() - started
        run.images += len(rows)
        run.entropies += F.cross_entropy(logits.double(), labels, reduction="none").tolist()
        return self._parent_right[rows].astype(np.int64) - right

    def _take(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        inputs = self._preprocessing.apply(self._images.images[rows])
        return inputs, torch.from_numpy(self._images.labels[rows])

    def _says_no(self, run: EvaluationRun, test: DropTest) -> bool:
        """Note a rejection; one by the last image of all comes too late to be one."""
        if test.rejected_at is None or test.rejected_at == len(self._images):
            return False
        run.rejection = Rejection(Stage.SUBSET, test.estimate, test.limit)
        return True

    def _note_estimate(
        self, run: EvaluationRun, test: DropTest, draw: Draw, differences: NDArray[np.int64]
    ) -> None:
        """Only up to the image that decided: the cut into batches changes nothing."""
        assert test.rejected_at is not None
        run.answers = PairedAnswers.of(differences, draw.order[: test.rejected_at])
        run.measures |= {
            "accuracy": self.accuracy - test.estimate,
            "n_search": test.rejected_at,
            "drop": test.estimate,
        }

    def _note_means(
        self, run: EvaluationRun, differences: NDArray[np.int64], seen: NDArray[np.int64]
    ) -> None:
        """Plain means over the images that were seen."""
        count, lost = len(seen), int(differences[seen].sum())
        run.answers = PairedAnswers.of(differences, seen)
        run.measures |= {
            "accuracy": (int(self._parent_right[seen].sum()) - lost) / count,
            "n_search": count,
            "drop": lost / count,
        }
        if count == len(self._images):
            # The exact sum: images that came in another order give the same.
            run.measures["cross_entropy"] = math.fsum(run.entropies) / count


def _cut(order: NDArray[np.int64], batch_size: int, also: int = 0) -> list[NDArray[np.int64]]:
    """Batches of an order, cut at one more place."""
    places = {*range(0, len(order), batch_size), also, len(order)}
    return [order[start:end] for start, end in itertools.pairwise(sorted(places))]
