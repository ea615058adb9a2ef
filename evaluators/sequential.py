"""A test that may be looked at after every image and still errs at most at its stated rate.

Betting on bounded means: I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random
variables by betting", JRSS B 86 (2024) 1-27.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..spaces.errors import BadInput

# Shares of the largest allowed bet. Small ones see small drops in long streams, large ones see
# gross drops within tens of images. Evenly spaced beat geometric grids in simulation: at limit
# 0.015 a drop of 0.2 took 38 images instead of 49 in the median, one of 0.05 took 530, not 614.
_BET_SHARES = np.linspace(0.05, 0.95, 19)
_SCAN = 4096
"""Images per step of the scan, which bounds its memory."""


class DropTest:
    """Tests whether a candidate's accuracy is surely more than `limit` below its parent's.

    On every image ``d = parent is right - candidate is right`` is -1, 0 or 1. The null
    hypothesis is mean(d) <= limit. For each bet b of a fixed grid in (0, 1 / (1 + limit)) the
    wealth ``prod(1 + b (d_i - limit))`` is a non-negative supermartingale under it, and so is
    their average, the e-process. By Ville's inequality it ever reaches 1 / alpha with
    probability at most alpha, whenever and however often one looks.

    The images must come in an order that does not depend on the answers, e.g. shuffled once. The
    verdict, `rejected_at` and `evidence` do not depend on how the stream is cut into batches,
    nor on what comes after the rejection.

    "Dominated at its bytes" is the same test with the limit parent's accuracy - rival's accuracy,
    which may be negative.

    Args:
        limit: largest allowed drop, a fraction in (-1, 1).
        alpha: largest probability of rejecting a candidate within the limit, in (0, 1).

    Raises:
        BadInput: limit or alpha out of range.
    """

    def __init__(self, limit: float, alpha: float = 0.05) -> None:
        if not -1 < limit < 1:
            raise BadInput(f"limit {limit!r}; give a fraction between -1 and 1, e.g. 0.015.")
        if not 0 < alpha < 1:
            raise BadInput(f"alpha {alpha!r}; give a probability between 0 and 1, e.g. 0.05.")
        self.limit = limit
        self.alpha = alpha
        self._rejected_at: int | None = None
        self._log_evidence = 0.0
        # Wealth depends on the stream only through the counts of d = -1, 0 and 1: integers, so
        # that nothing is rounded from one image to the next.
        self._counts = np.zeros(3, np.int64)
        outcomes = np.array([-1.0, 0.0, 1.0])
        bets = _BET_SHARES / (1 + limit)
        self._log_growth = np.log1p(bets * (outcomes[:, None] - limit))

    @property
    def n(self) -> int:
        """Number of images seen, those after a rejection included."""
        return int(self._counts.sum())

    @property
    def estimate(self) -> float:
        """Mean of d over all images seen; 0 before the first."""
        return int(self._counts[2] - self._counts[0]) / max(self.n, 1)

    @property
    def evidence(self) -> float:
        """Largest value of the e-process so far (until rejection); 1 / it is a valid p-value."""
        return math.exp(self._log_evidence)

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
            differences: d of each image in order, [n] of -1, 0 and 1; n may be 0.

        Raises:
            BadInput: another shape or other values.
        """
        stream = np.asarray(differences)
        if stream.ndim != 1 or not np.isin(stream, (-1, 0, 1)).all():
            raise BadInput(
                f"differences of shape {stream.shape}: give one row of -1, 0 and 1 "
                "(parent right minus candidate right)."
            )
        for start in range(0, len(stream), _SCAN):
            self._scan(stream[start : start + _SCAN])

    def _scan(self, stream: NDArray[np.generic]) -> None:
        seen = self._counts + np.cumsum(stream[:, None] == (-1, 0, 1), axis=0)
        if not self.rejected:
            self._look(seen)
        self._counts = seen[-1]

    def _look(self, seen: NDArray[np.int64]) -> None:
        """Judge after each image; `seen` [images, 3] are the counts up to it."""
        log_evidence = self._log_e_process(seen)
        over = np.flatnonzero(log_evidence >= -math.log(self.alpha))
        if len(over):
            self._rejected_at = int(seen[over[0]].sum())
            log_evidence = log_evidence[: over[0] + 1]
        self._log_evidence = max(self._log_evidence, float(log_evidence.max()))

    def _log_e_process(self, seen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log of the average wealth over the bets, [images]."""
        # Products and sums one by one, not `@`: BLAS rounds differently for other batch sizes.
        worse, same, better = (seen[:, [k]] * self._log_growth[k] for k in (2, 1, 0))
        log_wealth = worse + same + better
        highest = log_wealth.max(axis=1, keepdims=True)
        return highest[:, 0] + np.log(np.exp(log_wealth - highest).mean(axis=1))
