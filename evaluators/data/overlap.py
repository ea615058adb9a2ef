"""Finds images that occur more than once, within a split or across splits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations

from ...spaces.errors import BadInput
from .splits import Splits


@dataclass(frozen=True, slots=True)
class Overlap:
    """Counts of repeated images.

    Attributes:
        within: by split, the number of images that repeat an earlier one of the same split.
        across: by pair of splits, the number of images of the second whose pixels the first
            shows too. Only pairs with any are listed.
    """

    within: Mapping[str, int]
    across: Mapping[tuple[str, str], int]

    @property
    def disjoint(self) -> bool:
        """Whether no image occurs in two splits."""
        return not self.across


def check_disjoint(
    splits: Splits, *, train_hashes: Collection[bytes] | None = None, strict: bool = False
) -> Overlap:
    """Compare the pixels of all images of all splits; labels do not count.

    Splits never share a row. Equal pixels in two rows are duplicates of the source data, as
    public data sets have them: a few do no harm and are counted, many mean that the files
    themselves overlap.

    Args:
        splits: the splits; an empty one overlaps with nothing.
        train_hashes: `ImageData.image_hashes` of the training images, where `splits.train`
            was not loaded.
        strict: raise where an image occurs in two splits.

    Raises:
        BadInput: `strict`, and there is such an image; the message has the counts.
    """
    hashes: dict[str, Collection[bytes]] = {
        name: data.image_hashes() for name, data in splits.named().items()
    }
    if train_hashes is not None:
        hashes["train"] = train_hashes
    unique = {name: frozenset(all_of_it) for name, all_of_it in hashes.items()}
    within = {name: len(hashes[name]) - len(unique[name]) for name in hashes}
    across = {
        (first, second): repeated
        for first, second in combinations(hashes, 2)
        if (repeated := sum(image in unique[first] for image in hashes[second]))
    }
    if strict and across:
        found = ", ".join(f"{n} of {second} in {first}" for (first, second), n in across.items())
        raise BadInput(f"splits share images ({found}); take duplicates out of the files.")
    return Overlap(within, across)
