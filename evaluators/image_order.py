"""In which order the search images are asked: a value that is sent along, and the draw by it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .compact import from_text, to_text

_BITS = 4
_TOP = 2**_BITS - 1
_RATIO = 1.3
"""Between the weights of neighbouring levels: the lightest image has 1.3 ** -15 = 1 / 51 of the
heaviest one's weight, so that no image can ever be out of reach."""

_MOST_LIFTED = 4.0
_LIFT = 0.5


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """How likely each search image comes early. The default weighs all images alike.

    Attributes:
        version: number of commits that it was learned from.
        seed: of the draws.
        levels: one weight level of 4 bits per image, packed: two thirds of a byte per image, so
            that 64 KiB hold those of 90,000. Empty: all alike.
    """

    version: int = 0
    seed: int = 0
    levels: str = ""

    @classmethod
    def of(cls, version: int, seed: int, weights: ArrayLike) -> ImageOrder:
        """Order by weights, rounded to the nearest level.

        Args:
            version: number of commits that it was learned from.
            seed: of the draws.
            weights: [N], each above 0; only their ratios count.
        """
        given = np.asarray(weights, np.float64)
        steps = np.log(given / given.max()) / math.log(_RATIO)
        levels = np.maximum(_TOP + np.rint(steps), 0)
        return cls(version, seed, to_text(levels, _BITS))

    def weights(self, images: int) -> NDArray[np.float64]:
        """Weight of each image, [images]; the heaviest may have 1.

        Raises:
            BadInput: it was learned on another number of images.
        """
        if not self.levels:
            return np.ones(images)
        levels = from_text(self.levels, _BITS, images).astype(np.float64)
        return _RATIO ** (levels - _TOP)


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """All search images in the order in which one candidate is asked.

    Attributes:
        order: numbers of the images, [N].
        weights: what each was drawn with, [N] in that order.
        parent_right: whether the trained network is right on each, [N] in that order.
    """

    order: NDArray[np.int64]
    weights: NDArray[np.float64]
    parent_right: NDArray[np.bool_]


def draw_images(order: ImageOrder, key: str, parent_right: NDArray[np.bool_]) -> Draw:
    """Draw all images without putting any back, each time by weight among those that are left.

    Exponential races (P. S. Efraimidis and P. G. Spirakis, "Weighted random sampling with a
    reservoir", 2006): image i arrives at an exponential time of rate w_i. Every candidate has
    a draw of its own, so that what was learned from one says nothing about the draw of the next.

    Args:
        order: the value sent along.
        key: content key of the candidate.
        parent_right: whether the trained network is right, per search image [N].

    Raises:
        BadInput: the order was learned on another number of images.
    """
    weights = _lift(order.weights(len(parent_right)), parent_right)
    generator = np.random.default_rng([order.seed, int.from_bytes(key.encode())])
    arrivals = generator.standard_exponential(len(weights)) / weights
    drawn = np.argsort(arrivals, kind="stable")
    return Draw(drawn, weights[drawn], parent_right[drawn])


def _lift(weights: NDArray[np.float64], parent_right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights in which those that the trained network has wrong weigh some multiple of the mean.

    Only these can speak for a candidate, and the sequential test may only bet as much as the
    lightest of them could take away. With a share e of them, weight r costs the others a factor
    ``1 + r e`` and bounds bets by ``1 / r``: best at r in proportion to ``e ** -0.5``. The factor
    1/2 gives what was best, among 1 to 4, for two networks of the zoo: 4 where 2 % are wrong
    (spikformer-digits), 1 where 25 % are (spikformer-cifar10).
    """
    wrong = ~parent_right
    if not wrong.any():
        return weights
    lift = min(max(_LIFT / math.sqrt(wrong.mean()), 1.0), _MOST_LIFTED)
    return np.where(wrong, np.maximum(weights, lift * weights.mean()), weights)
