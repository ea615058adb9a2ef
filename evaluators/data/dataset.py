"""Labelled images in memory: what every data source of the project hands out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...spaces.errors import BadInput

Pixels = NDArray[np.uint8 | np.uint16]
"""Images uint8 [N, C, H, W], or counts of events, uint8 or uint16 [N, T, 2, H, W]."""

_EVENT_AXES = 5
_POLARITIES = 2


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images with their labels, read-only. Two of them are the same where their digests are.

    Attributes:
        images: uint8 [N, C, H, W], C in {1, 3}; N may be 0 (a split that was not asked for).
            Event data: uint8 or uint16 counts [N, T, 2, H, W].
        labels: int64 [N], each the number of a class.
        classes: names of all classes, whether or not an image shows them.
        name: where the images come from, for reports; no part of the digest.

    Raises:
        BadInput: a wrong dtype or shape, or a label without a class.
    """

    images: Pixels
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        if not (_are_events(self.images) or _are_images(self.images)):
            got = f"{self.images.dtype} {self.images.shape}"
            raise BadInput(
                f"{self.name}: images are {got}; give uint8 [N, C, H, W], or counts of events, "
                "uint8 or uint16 [N, T, 2, H, W]."
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            got = f"{self.labels.dtype} {self.labels.shape}"
            raise BadInput(f"{self.name}: labels are {got}; give int64 [{len(self.images)}].")
        if len(self) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            got = f"{self.labels.min()}..{self.labels.max()}"
            raise BadInput(f"{self.name}: labels {got} for {len(self.classes)} classes.")
        # The digest is computed once, so what it covers must stay as it is.
        object.__setattr__(self, "images", _read_only(self.images))
        object.__setattr__(self, "labels", _read_only(self.labels))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def of_events(self) -> bool:
        """Whether these are frames of events."""
        return self.images.ndim == _EVENT_AXES

    @cached_property
    def digest(self) -> str:
        """Content key: sha256 hex over shape, pixels and labels; the same on every machine."""
        content = hashlib.sha256(repr(tuple(map(int, self.images.shape))).encode())
        stored = self.images.astype(self.images.dtype.newbyteorder("<"), copy=False)
        content.update(np.ascontiguousarray(stored).data)
        content.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return content.hexdigest()

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> ImageData:
        """Copy of the images with these row numbers, in this order."""
        rows = np.asarray(indices, dtype=np.int64)
        return ImageData(self.images[rows], self.labels[rows], self.classes, self.name)

    def image_hashes(self) -> list[bytes]:
        """One 16-byte hash of the pixels per image; labels do not count."""
        return [
            hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
            for image in self.images
        ]


def _are_images(images: np.ndarray) -> bool:
    return images.ndim == 4 and images.dtype == np.uint8


def _are_events(images: np.ndarray) -> bool:
    if images.ndim != _EVENT_AXES or images.shape[2] != _POLARITIES:
        return False
    return images.dtype in (np.uint8, np.uint16)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
