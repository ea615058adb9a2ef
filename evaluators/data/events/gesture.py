"""DVS128-Gesture as published: files of many trials each, and two lists of files."""

from __future__ import annotations

from pathlib import Path

from ....spaces.errors import BadInput, CorruptFile
from .recording import Recording

LISTS = ("trials_to_train.txt", "trials_to_test.txt")
CLASSES = (
    "hand_clapping",
    "right_hand_wave",
    "left_hand_wave",
    "right_arm_clockwise",
    "right_arm_counter_clockwise",
    "left_arm_clockwise",
    "left_arm_counter_clockwise",
    "arm_roll",
    "air_drums",
    "air_guitar",
    "other_gestures",
)
_HEADER = "class,startTime_usec,endTime_usec"


def list_trials(folder: Path) -> tuple[list[Recording], list[Recording]]:
    """Trials of the training and of the test files; labels count from 0.

    Only lists and label files are read. Label files hold trials that overlap, and they may
    stay: every trial is cut out by its own times, as in spikingjelly.

    Raises:
        CorruptFile: a list or a label file is damaged.
        BadInput: a file is missing, or named twice.
    """
    names = [_file_names(folder / name) for name in LISTS]
    every = [*names[0], *names[1]]
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice:
        raise BadInput(f"{folder}: {', '.join(twice)} named twice in {' and '.join(LISTS)}.")
    train, test = ([trial for name in part for trial in _trials(folder, name)] for part in names)
    return train, test


def _file_names(path: Path) -> list[str]:
    names = [line.strip() for line in _lines(path) if line.strip()]
    if not names:
        raise CorruptFile(f"{path}: names no files; copy it again.")
    for name in names:
        if not name.endswith(".aedat") or "/" in name or "\\" in name:
            raise CorruptFile(f"{path}: {name!r} is no name of an .aedat file in this folder.")
    return names


def _trials(folder: Path, name: str) -> list[Recording]:
    recording = folder / name
    if not recording.is_file():
        raise BadInput(f"{recording}: no such file, but a list of trials names it.")
    path = folder / f"{recording.stem}_labels.csv"
    header, *lines = _lines(path) or [""]
    if header.strip() != _HEADER:
        raise CorruptFile(f"{path}: starts with {header!r}; it must be {_HEADER!r}.")
    return [
        _trial(recording, f"{path}, line {number}", line)
        for number, line in enumerate(lines, start=2)
        if line.strip()
    ]


def _trial(recording: Path, where: str, line: str) -> Recording:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != 3 or not all(cell.isdecimal() for cell in cells):
        raise CorruptFile(f"{where}: {line!r}; it must be three whole numbers.")
    label, start, end = map(int, cells)
    if not 1 <= label <= len(CLASSES) or not start < end < 2**63:
        raise CorruptFile(
            f"{where}: class {label} from {start} to {end} us; "
            f"allowed: classes 1..{len(CLASSES)}, and an end after the start."
        )
    return Recording(recording, label - 1, (start, end))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error}).") from error
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{path}: no text ({error}); copy it again.") from error
