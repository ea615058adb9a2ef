"""From the settings of event data to its four splits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....spaces.errors import BadInput, unknown_name
from ..partition import partition
from ..splits import Splits
from .framing import Framing
from .layout import Layout, find_recordings
from .recordings import EventRecordings

_PATHS = ("path", "validation")
_COUNTS = ("calibration", "search", "seed")
_SIDES = ("height", "width")
_FRAMING = {"steps": int, "split_by": str, "downscale": int, "downscale_by": str}
_TYPES: Mapping[str, type] = {
    **dict.fromkeys(_PATHS, str),
    **dict.fromkeys((*_COUNTS, *_SIDES), int),
    **_FRAMING,
}

_TEST_SHARE = 10
"""One in so many recordings is for the test where no test data is published."""
_NONE: tuple[int, ...] = ()


def event_splits(
    settings: Mapping[str, Any], *, with_train: bool = True, with_test: bool = True
) -> Splits:
    """Cut the recordings of a folder.

    Calibration and search are cut by class from the training part. Where the folder has no
    published test data, as CIFAR10-DVS, a tenth of each class becomes the test split first.

    Args:
        settings: ``path`` (training of our own) or ``validation`` (a foreign checkpoint, whose
            training set is unknown: all three splits come from the published test data, or from
            the whole folder, and train is empty); ``calibration`` (512), ``search`` (2000),
            ``seed`` (0); ``steps``, ``split_by``, ``downscale`` and ``downscale_by`` of
            `Framing`; ``height`` and ``width`` of the sensor.
        with_train: False leaves the training recordings unread.
        with_test: False leaves the test recordings unread.

    Raises:
        BadInput: unknown keys, wrong types or values; so `find_recordings` and `partition`.
        CorruptFile: a recording is damaged.
    """
    _check(settings)
    framing = _framing(settings)
    calibration, search = settings.get("calibration", 512), settings.get("search", 2000)
    seed = settings.get("seed", 0)
    named = [key for key in _PATHS if key in settings]
    if len(named) != 1:
        raise BadInput(
            f"event data with {' and '.join(named) or 'no folder'}: give path (a network of your "
            "own training), or validation (a foreign checkpoint)."
        )
    folder = Path(settings[named[0]]).expanduser()
    cut = _Cut(folder, find_recordings(folder), framing, (calibration, search), seed)
    if named == ["validation"]:
        return cut.foreign(with_test=with_test)
    return cut.own(with_train=with_train, with_test=with_test)


class _Cut:
    """Cuts one folder's recordings."""

    def __init__(
        self, folder: Path, found: Layout, framing: Framing, counts: tuple[int, int], seed: int
    ) -> None:
        self.name = folder.resolve().name
        self.found, self.framing, self.counts, self.seed = found, framing, counts, seed

    def own(self, *, with_train: bool, with_test: bool) -> Splits:
        """Splits for a network of our own training."""
        source = self._recordings(train=True)
        if self.found.test:
            tests = self._recordings(train=False)
            test_rows: Any = range(len(tests))
            parts = partition(source.labels, self.counts, self.seed)
            origin = f"test is the published one ({len(tests)})"
        else:
            tests = source
            counts = (max(len(source) // _TEST_SHARE, 1), *self.counts)
            test_rows, *parts = partition(source.labels, counts, self.seed)
            origin = (
                f"there is no published test data: test is a tenth, {len(test_rows)}, cut by class "
                "with the same seed"
            )
        calibration, search, train = parts
        declared = (
            f"{len(calibration)} calibration and {len(search)} search recordings are cut by class "
            f"from {self.name} with seed {self.seed} and left out of training ({len(train)} "
            f"remain); {origin}; {self._frames()}."
        )
        return Splits(
            source.load(train if with_train else _NONE),
            source.load(calibration),
            source.load(search),
            tests.load(test_rows if with_test else _NONE),
            declared,
        )

    def foreign(self, *, with_test: bool) -> Splits:
        """Splits for a checkpoint whose training set is unknown."""
        source = self._recordings(train=not self.found.test)
        calibration, search, test = partition(source.labels, self.counts, self.seed)
        published = "the published test data of " if self.found.test else ""
        declared = (
            f"the training set is unknown: {len(calibration)} calibration, {len(search)} search "
            f"and {len(test)} test recordings are disjoint parts of {published}{self.name}, cut by "
            f"class with seed {self.seed}; {self._frames()}."
        )
        return Splits(
            source.load(_NONE),
            source.load(calibration),
            source.load(search),
            source.load(test if with_test else _NONE),
            declared,
        )

    def _recordings(self, *, train: bool) -> EventRecordings:
        chosen = self.found.train if train else self.found.test
        return EventRecordings(chosen, self.found.classes, self.name, self.framing)

    def _frames(self) -> str:
        return f"every recording is {self.framing.steps} frames by {self.framing.split_by}"


def _framing(settings: Mapping[str, Any]) -> Framing:
    given = {key: settings[key] for key in _FRAMING if key in settings}
    sides = [settings[key] for key in _SIDES if key in settings]
    if len(sides) == 1:
        raise BadInput("event data with only one of height and width: give both or none.")
    return Framing(**given, size=(sides[0], sides[1]) if sides else None)


def _check(settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if key not in _TYPES:
            raise unknown_name("data setting", key, {"name", *_TYPES})
        if not isinstance(value, _TYPES[key]) or isinstance(value, bool):
            kind = "a whole number" if _TYPES[key] is int else "a string"
            raise BadInput(f"data setting {key!r} is {value!r}; give {kind}.")
