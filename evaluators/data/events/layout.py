"""What a folder of recordings holds: whose class each is, and what is published as test data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ....spaces.errors import BadInput
from .gesture import CLASSES, LISTS, list_trials
from .recording import SUFFIXES, Recording

_TRAIN, _TEST = "train", "test"


@dataclass(frozen=True, slots=True)
class Layout:
    """Recordings of a folder.

    Attributes:
        train: all recordings where there is no published test data.
        test: empty where there is none.
        classes: names; folders in the order of their names as text, as spikingjelly counts them.
    """

    train: tuple[Recording, ...]
    test: tuple[Recording, ...]
    classes: tuple[str, ...]


def find_recordings(folder: Path) -> Layout:
    """List the recordings of a folder; none of them is read.

    Known are ``class/recording`` (CIFAR10-DVS), ``Train|Test/class/recording`` (N-MNIST, and what
    spikingjelly writes), and DVS128-Gesture as published.

    Raises:
        BadInput: nothing there, recordings of unlike formats, or unlike classes in both parts.
        CorruptFile: DVS128-Gesture's lists or labels are damaged.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; give the folder of the data set.")
    if any((folder / name).is_file() for name in LISTS):
        train, test = list_trials(folder)
        return _layout(folder, train, test, CLASSES)
    inside = {child.name.lower(): child for child in _folders(folder)}
    if set(inside) != {_TRAIN, _TEST}:
        every, classes = _by_class(folder)
        return _layout(folder, every, [], classes)
    train, classes = _by_class(inside[_TRAIN])
    test, others = _by_class(inside[_TEST])
    if classes != others:
        raise BadInput(
            f"{folder}: the classes of {_TRAIN} are {', '.join(classes)}, "
            f"those of {_TEST} are {', '.join(others)}."
        )
    return _layout(folder, train, test, classes)


def _layout(
    folder: Path, train: list[Recording], test: list[Recording], classes: tuple[str, ...]
) -> Layout:
    suffixes = sorted({recording.path.suffix for recording in (*train, *test)})
    if len(suffixes) > 1:
        raise BadInput(f"{folder}: mixes {' and '.join(suffixes)} files; keep one kind of them.")
    return Layout(tuple(train), tuple(test), classes)


def _by_class(folder: Path) -> tuple[list[Recording], tuple[str, ...]]:
    """Recordings of the folder's class folders, and the names of the classes."""
    folders = _folders(folder)
    if not folders:
        raise BadInput(f"{folder}: holds no folders; give one that has a folder per class.")
    recordings = []
    for label, each in enumerate(folders):
        files = [file for file in _visible(each) if file.suffix in SUFFIXES]
        if not files:
            raise BadInput(f"{each}: holds no recording ({', '.join(SUFFIXES)}).")
        recordings += [Recording(file, label) for file in files]
    return recordings, tuple(each.name for each in folders)


def _folders(folder: Path) -> list[Path]:
    return [child for child in _visible(folder) if child.is_dir()]


def _visible(folder: Path) -> list[Path]:
    children = (child for child in folder.iterdir() if child.name[0] not in "._")
    return sorted(children, key=lambda child: child.name)
