"""Images in folders, one per class: ``root/<class>/*.jpg``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...spaces.errors import BadInput, CorruptFile
from .dataset import ImageData
from .decode import Decoding
from .parquet import check_shape, decoded

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Endings of image files, in lower case; what a file holds decides how it is read."""


@dataclass(frozen=True, eq=False)
class FolderImages:
    """The listed files of a folder of classes; images are decoded when they are asked for.

    Rows are numbered class by class, within a class by name. Names are sorted by code point:
    upper case before lower case, on every machine.

    Attributes:
        files: the image files.
        labels: int64 [files].
        classes: names of the class folders; an empty folder is a class too.
        name: the name of the folder.
    """

    files: tuple[Path, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    name: str

    @classmethod
    def open(cls, path: str | Path) -> FolderImages:
        """List a folder. Hidden files and symbolic links in it are passed over.

        Raises:
            BadInput: no folder, no class folders, no images, or something else than images in a
                class folder.
        """
        root = Path(path).expanduser()
        classes = list_folders(root)
        if not classes:
            raise BadInput(
                f"{root}: holds no folders; give one folder per class, e.g. {root / 'cat'} "
                "(symbolic links and hidden folders do not count)."
            )
        files = [_images(root / each) for each in classes]
        labels = np.repeat(np.arange(len(classes)), [len(of_class) for of_class in files])
        if not len(labels):
            raise BadInput(
                f"{root}: its folders hold no images (symbolic links and hidden files do not "
                f"count); allowed endings: {', '.join(SUFFIXES)}."
            )
        listed = tuple(file for of_class in files for file in of_class)
        return cls(listed, labels.astype(np.int64), tuple(classes), root.resolve().name)

    def __len__(self) -> int:
        return len(self.files)

    def load(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        *,
        size: int | None = None,
        channels: int = 3,
        resize: int | None = None,
    ) -> ImageData:
        """Decode the images with these row numbers, in this order.

        Args:
            indices: row numbers.
            size: height and width in pixels (shorter side resized, center cut out);
                None takes the images as they are.
            channels: 3 (RGB) or 1 (grey).
            resize: length of the shorter side before the center is cut out; None means `size`.

        Raises:
            CorruptFile: an image cannot be read or decoded; names the file.
            BadInput: images of unlike sizes and no `size`.
        """
        decoding = Decoding(channels, size, resize)
        rows = np.asarray(indices, dtype=np.int64)
        images = np.empty((len(rows), channels, size or 0, size or 0), np.uint8)
        for place, (where, image) in enumerate(decoded(self._encoded(rows), decoding)):
            if not place:
                images = np.empty((len(rows), *image.shape), np.uint8)
            check_shape(where, image, images.shape[1:])
            images[place] = image
        return ImageData(images, self.labels[rows], self.classes, self.name)

    def _encoded(self, rows: NDArray[np.int64]) -> Iterator[tuple[str, bytes]]:
        for row in rows:
            file = self.files[row]
            try:
                yield str(file), file.read_bytes()
            except OSError as error:
                raise CorruptFile(f"{file}: cannot be read ({error.strerror}).") from None


def list_folders(root: Path) -> list[str]:
    """Names of the folders in a folder, sorted; no hidden ones, no symbolic links.

    Raises:
        BadInput: no folder, not readable, or a name that cannot be printed.
    """
    names = [entry.name for entry in _visible(root) if entry.is_dir(follow_symlinks=False)]
    for name in names:
        if not name.isprintable():
            raise BadInput(f"{root}: a folder is named {name!a}; give its class a plain name.")
    return names


def _images(folder: Path) -> list[Path]:
    files = []
    for entry in _visible(folder):
        if entry.is_dir(follow_symlinks=False):
            raise BadInput(
                f"{entry.path}: a folder within the folder of a class; put the images of a class "
                "directly into its folder. Only `train`, `val` and `test` may hold classes."
            )
        if not entry.is_file(follow_symlinks=False):
            continue
        if Path(entry.name).suffix.lower() not in SUFFIXES:
            raise BadInput(
                f"{entry.path}: no image by its name; allowed endings: {', '.join(SUFFIXES)}. "
                "Move it out of the folder of its class."
            )
        files.append(Path(entry.path))
    return files


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise BadInput(
            f"{folder}: cannot be listed ({error.strerror}); give a folder of class folders."
        ) from None
    return sorted(visible, key=lambda entry: entry.name)
