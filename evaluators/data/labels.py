"""Label maps: classes of a data set merged, renamed, reordered or dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...spaces.errors import BadInput, unknown_name
from .folder import FolderImages
from .label_file import read_label_file
from .parquet import ParquetImages

DROPPED = -1
"""Label of an image that is in no class and so in no split."""
OTHERS = "*"
"""Key of a map that stands for every class that is not named."""

LabelSettings = str | Path | Mapping[str, Any]
"""A label map, or the path of its file."""

_FIELDS = ("classes", "map")
_Source = TypeVar("_Source", ParquetImages, FolderImages)


@dataclass(frozen=True)
class LabelMap:
    """What becomes of the classes of a data set.

    A class that the map names becomes what it says. A class that it does not name stays what it
    is where `classes` lists it, else becomes what ``"*"`` says. Nothing is dropped unasked.

    Attributes:
        classes: the new classes; the first has number 0.
        targets: new class by old class, None to drop it. An old class is given by its name, or,
            where no class has that name, by its number.
    """

    classes: tuple[str, ...]
    targets: Mapping[str, str | None]

    @classmethod
    def load(cls, given: LabelSettings) -> LabelMap:
        """Label map from ``{"classes": […], "map": {…}}``, or from a JSON or YAML file of it.

        Raises:
            CorruptFile: the file is no JSON or YAML.
            BadInput: no such file, or contents that are no label map.
        """
        where = "labels" if isinstance(given, Mapping) else str(given)
        fields = given if isinstance(given, Mapping) else read_label_file(Path(given))
        for name in fields:
            if name not in _FIELDS:
                raise unknown_name(f"field of {where}", str(name), _FIELDS)
        classes = _classes(where, fields.get("classes"))
        return cls(classes, _targets(where, fields.get("map") or {}, classes))

    def numbers(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """New number of each old class, `DROPPED` for none; int64 [old classes].

        Raises:
            BadInput: the map names a class that there is not, one of them twice or not at all, or
                leaves a new class without images.
        """
        explicit: dict[int, str | None] = {}
        for key, target in self.targets.items():
            if key == OTHERS:
                continue
            old = _old_class(key, classes)
            if old in explicit:
                raise BadInput(f"labels: class {classes[old]!r} is mapped twice; map it once.")
            explicit[old] = target
        news = [
            explicit[old] if old in explicit else self._unnamed(name)
            for old, name in enumerate(classes)
        ]
        empty = [name for name in self.classes if name not in news]
        if empty:
            raise BadInput(f"labels: nothing becomes {', '.join(empty)}; map a class to each.")
        number = {name: index for index, name in enumerate(self.classes)}
        return np.array([DROPPED if new is None else number[new] for new in news], np.int64)

    def apply(self, source: _Source) -> _Source:
        """The same images with new labels; errors are those of `numbers`.

        Rows keep their numbers; the label of a dropped one is `DROPPED`.
        """
        labels = self.numbers(source.classes)[source.labels]
        return replace(source, labels=labels, classes=self.classes)

    def _unnamed(self, name: str) -> str | None:
        if name in self.classes:
            return name
        if OTHERS in self.targets:
            return self.targets[OTHERS]
        raise BadInput(
            f"labels: the map does not say what becomes of class {name!r}; map it to one of "
            f"{', '.join(self.classes)}, or to null to leave its images out."
        )


def labelled_rows(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of the rows that are in a class, ascending."""
    return np.flatnonzero(labels != DROPPED)


def _old_class(key: str, classes: Sequence[str]) -> int:
    if key in classes:
        return classes.index(key)
    # Numbers are compared as text: Python refuses to convert very long ones.
    numbers = [str(number) for number in range(len(classes))]
    if key in numbers:
        return numbers.index(key)
    raise unknown_name("class in labels.map", key, classes)


def _classes(where: str, given: Any) -> tuple[str, ...]:
    names = [_text(name) for name in given] if isinstance(given, list | tuple) else []
    if not names or None in names:
        raise BadInput(
            f"{where}: classes is {given!r}; list the names of all classes in order, "
            "e.g. [cat, dog] (quote words that YAML takes for something else, such as no)."
        )
    _check_unique(where, [str(name) for name in names])
    return tuple(str(name) for name in names)


def _targets(where: str, given: Any, classes: Sequence[str]) -> dict[str, str | None]:
    if not isinstance(given, Mapping):
        raise BadInput(f"{where}: map is {given!r}; give a mapping of old classes to new ones.")
    keys = [_text(key) for key in given]
    if None in keys:
        odd = next(key for key in given if _text(key) is None)
        raise BadInput(f"{where}: map has the key {odd!r}; give a class name or a label number.")
    _check_unique(where, [str(key) for key in keys])
    targets = {str(_text(old)): None if new is None else _text(new) for old, new in given.items()}
    for (old, target), new in zip(targets.items(), given.values(), strict=True):
        if new is not None and target not in classes:
            raise unknown_name(f"class that {where} maps {old!r} to:", str(new), classes)
    return targets


def _check_unique(where: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadInput(f"{where}: {name!r} is given twice; give it once.")
        seen.add(name)


def _text(value: Any) -> str | None:
    """Name of a class; YAML reads names of digits as numbers. None if it is no name."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return str(value)
