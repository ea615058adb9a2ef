"""A test that may be looked at after every image and still errs at most at its stated rate.

Betting on bounded means: I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random
variables by betting", JRSS B 86 (2024) 1-27, section 5 on sampling without replacement. By
weight: S. Shekhar, Z. Xu, Z. Lipton, P. Liang and A. Ramdas, "Risk-limiting financial audits via
weighted sampling without replacement", UAI 2023.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..spaces.errors import BadInput

# Shares of the largest allowed bet, for the first image. Small ones see small drops in long
# streams, large ones see gross drops within tens of images.
_BET_SHARES = np.linspace(0.05, 0.95, 19)
_LARGEST_SHARE = 0.95
_DEAREST = 6.0
"""Bet that the shares are of where more were allowed, as where the parent has hardly any image
wrong: shares of 1 / limit would be far too high for small drops. On 2,000 images without a single
gain, at the limit 0.015, a drop of 0.065 took 72 images in the mean instead of 94 (40 draws each;
of bounds from 2 to 16, 6 and 8 were best), one of 0.2 took 16 instead of 13."""
_TOLERANCE = 1e-9
"""Of the accuracy: limits are differences of means, which are rounded."""


class DropTest:
    """Tests whether a candidate's accuracy is surely more than `limit` below its parent's.

    On every image ``d = parent is right - candidate is right`` is -1, 0 or 1. The null hypothesis
    is D <= limit, D the mean of d over all N images: nothing is said about others. Image I_t is
    drawn with a probability q_t in proportion to its weight among those that are left; then
    ``Z_t = d(I_t) / (N q_t(I_t)) + (sum of d over those seen before) / N`` has mean D whatever
    came before. It is never below what the lightest image left could take away at worst, and
    where the parent is right no image can take away anything. So for every bet b_t >= 0 that
    keeps ``1 + b_t (Z_t - limit) >= 0`` the product of these factors is a non-negative
    supermartingale under the null hypothesis, and so is the mean over a fixed grid of bets: the
    e-process. By Ville's inequality it ever reaches 1 / alpha with probability at most alpha,
    whenever and however often one looks. The bets grow like 1 / (share of the images that is
    left), as the spread of Z_t shrinks; in simulation that took up to 5 % fewer images.

    What was counted decides as well: the candidate is rejected where no answer to come could
    bring it within the limit, and not rejected any more where none could take it out. After N
    images the verdict is therefore exact.

    The images must have been drawn without knowing the answers. The verdict, `rejected_at`,
    the estimates and `evidence` do not depend on how the stream is cut into batches, nor on what
    comes after the rejection.

    "Dominated at its bytes" is the same test with the limit parent's accuracy - rival's accuracy,
    which may be negative.

    Args:
        limit: largest allowed drop, a fraction in (-1, 1).
        weights: of all images in the order drawn, [N], each above 0.
        parent_right: whether the parent is right on each, bool [N].
        alpha: largest probability of rejecting a candidate within the limit, in (0, 1).

    Raises:
        BadInput: limit or alpha out of range.
    """

    def __init__(
        self,
        limit: float,
        weights: NDArray[np.float64],
        parent_right: NDArray[np.bool_],
        alpha: float = 0.05,
    ) -> None:
        if not -1 < limit < 1:
            raise BadInput(f"limit {limit!r}; give a fraction between -1 and 1, e.g. 0.015.")
        if not 0 < alpha < 1:
            raise BadInput(f"alpha {alpha!r}; give a probability between 0 and 1, e.g. 0.05.")
        self.limit = limit
        self.alpha = alpha
        self._images = len(weights)
        self._allowed = (limit + _TOLERANCE) * self._images
        self._parent_right = parent_right
        left = _from_here(np.add, weights)
        self._value = left / (self._images * weights)
        lightest = _from_here(np.minimum, np.where(parent_right, np.inf, weights))
        self._down = left / (self._images * lightest)
        # How many of the images after each could still speak for and against the candidate.
        self._for = _from_here(np.add, ~parent_right, start=1)
        self._against = _from_here(np.add, parent_right, start=1)
        self._rejected_at: int | None = None
        self._evidence = 1.0
        self._n = 0
        # Up to the decision:
        self._counted = 0
        self._total = 0
        self._sum = 0.0
        self._wealth = np.ones(len(_BET_SHARES))

    @property
    def n(self) -> int:
        """Number of images seen, those after a rejection included."""
        return self._n

    @property
    def mean(self) -> float:
        """Mean of all Z_t up to the decision, or so far; 0 before the first image.

        An unbiased estimate of D for any number of images that is fixed beforehand. Where the
        images stop at a rejection it lies above D on average, as any estimate does that is read
        off when it looks its worst.
        """
        return self._sum / self._counted if self._counted else 0.0

    @property
    def estimate(self) -> float:
        """`mean`, held to what D may still be: D itself after N images, and D > limit if rejected.

        The plain mean of d would be no estimate of D: images that are likely to differ come early.
        """
        if not self._counted:
            return 0.0
        last = self._counted - 1
        low = self._total - int(self._for[last])
        high = self._total + int(self._against[last])
        if self.rejected:
            low = max(low, math.floor(self._allowed) + 1)
        return min(max(self.mean, low / self._images), high / self._images)

    @property
    def evidence(self) -> float:
        """Largest value of the e-process so far (until rejection); 1 / it is a valid p-value.

        Infinite where the counts alone decided.
        """
        return self._evidence

    @property
    def threshold(self) -> float:
        """Evidence at which the candidate is rejected: 1 / alpha."""
        return 1 / self.alpha

    @property
    def rejected(self) -> bool:
        """Whether the drop surely exceeds the limit; once true, it stays true."""
        return self._rejected_at is not None

    @property
    def rejected_at(self) -> int | None:
        """Number of images, from the first, after which it was rejected; None if it was not."""
        return self._rejected_at

    def update(self, differences: ArrayLike) -> None:
        """Take in the next images.

        Args:
            differences: d of each image in the order drawn, [n] of -1, 0 and 1; n may be 0.

        Raises:
            BadInput: another shape, other values, or more images than there are.
        """
        stream = self._checked(np.asarray(differences))
        rows = slice(self._n, self._n + len(stream))
        self._n += len(stream)
        if len(stream) and not self.rejected:
            self._look(rows, stream)

    def _checked(self, stream: NDArray[np.generic]) -> NDArray[np.int64]:
        if stream.ndim != 1 or not np.isin(stream, (-1, 0, 1)).all():
            raise BadInput(
                f"differences of shape {stream.shape}: give one row of -1, 0 and 1 "
                "(parent right minus candidate right)."
            )
        right = self._parent_right[self._n : self._n + len(stream)]
        if len(right) < len(stream):
            raise BadInput(f"more than {self._images} images; give each of them once.")
        whole = stream.astype(np.int64)
        if (whole[right] < 0).any() or (whole[~right] > 0).any():
            raise BadInput("differences do not fit to where the parent is right.")
        return whole

    def _look(self, rows: slice, stream: NDArray[np.int64]) -> None:
        """Judge after each of these images."""
        total = self._total + np.cumsum(stream)
        before = (total - stream) / self._images
        drawn = self._value[rows] * stream + before
        # Beyond the rejection in the same batch, which nobody looks at, it may grow without end.
        with np.errstate(over="ignore"):
            wealth = self._bet(rows, drawn, before)
            # One after the other: a mean might round differently for other batch sizes.
            evidence = np.add.accumulate(wealth, axis=1)[:, -1] / len(_BET_SHARES)
        evidence[total - self._for[rows] > self._allowed] = np.inf
        outside = total + self._against[rows] > self._allowed
        over = np.flatnonzero((evidence >= self.threshold) & outside)
        last = int(over[0]) if len(over) else len(stream) - 1
        self._counted = rows.start + last + 1
        if len(over):
            self._rejected_at = self._counted
        self._evidence = max(self._evidence, float(evidence[: last + 1].max()))
        self._total = int(total[last])
        self._sum = float(_carried(np.add, self._sum, drawn)[last])
        self._wealth = wealth[last]

    def _bet(
        self, rows: slice, drawn: NDArray[np.float64], before: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Wealth of every bet after each image, [images, bets]."""
        # 1 / room is the largest bet. Room may fall below 0 where the counts have decided; half
        # an image keeps it finite.
        room = np.maximum(self.limit - before + self._down[rows], 0.5 / self._images)
        left = 1 - np.arange(rows.start, rows.stop) / self._images
        first = np.minimum(1 / room, _DEAREST) / left
        bets = np.minimum(_BET_SHARES * first[:, None], _LARGEST_SHARE / room[:, None])
        return _carried(np.multiply, self._wealth, 1 + bets * (drawn - self.limit)[:, None])


def _carried(
    operation: np.ufunc, start: float | NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Running sum or product along the first axis that goes on from `start`, rounded alike."""
    first = np.broadcast_to(start, values[:1].shape)
    return operation.accumulate(np.concatenate([first, values]), axis=0)[1:]


def _from_here(operation: np.ufunc, values: NDArray[Any], start: int = 0) -> NDArray[Any]:
    """Sum or smallest of all values from each place on, or from `start` places behind it."""
    numbers = values.astype(np.int64) if values.dtype == np.bool_ else values
    behind = operation.accumulate(numbers[::-1])[::-1]
    return np.append(behind[start:], np.zeros(start, behind.dtype))
