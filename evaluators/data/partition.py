"""Cuts the rows of a data set into disjoint parts that each show all classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...spaces.errors import BadInput


def partition(
    labels: NDArray[np.int64], counts: Sequence[int], seed: int
) -> list[NDArray[np.int64]]:
    """Disjoint row numbers: one part per count, then one with all other rows.

    Rows with a negative label are in no part. Every part holds each class in its share of the
    whole, to within one or two images. Within a part the order is random, so that any beginning
    of it is a fair sample.

    Args:
        labels: int64 [N], class of every row.
        counts: sizes of the parts, each at least 1; at least one row is left over.
        seed: non-negative; same seed and labels, same parts.

    Raises:
        BadInput: a count below 1, more rows asked for than there are, or a negative seed.
    """
    rows = np.flatnonzero(labels >= 0)
    asked = sum(counts)
    if min(counts) < 1 or asked >= len(rows):
        raise BadInput(
            f"parts of {', '.join(map(str, counts))} images from {len(rows)}: each needs at "
            "least 1, and at least 1 must be left over; ask for fewer."
        )
    if seed < 0:
        raise BadInput(f"seed {seed}; give 0 or more.")
    # Raw numbers of PCG64 are fixed for good; numpy may change `Generator.permutation`.
    source = np.random.PCG64(seed)
    choice, order = source.random_raw(len(rows)), source.random_raw(len(rows))
    parts = np.split(_interleaved(labels[rows], choice), np.cumsum(counts))
    return [rows[part[np.argsort(order[part], kind="stable")]] for part in parts]


def _interleaved(labels: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """All rows in an order of which every slice has nearly the classes' shares of the whole."""
    by_class = np.lexsort((keys, labels))
    _, starts, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(labels)) - np.repeat(starts, sizes)
    place = (rank + 0.5) / np.repeat(sizes, sizes)
    return by_class[np.lexsort((keys[by_class], place))]
