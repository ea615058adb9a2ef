"""Small event recordings in the formats of the public data sets, and spikingjelly's readers."""

from __future__ import annotations

import ast
import importlib.util
import math
import struct
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, Any]
"""Arrays t, x, y and p of whole numbers [n]."""


def random_events(count: int, size: tuple[int, int], seed: int = 0, start: int = 0) -> Columns:
    """Columns t, x, y and p of events with times that never fall, and are sometimes equal."""
    source = np.random.default_rng(seed)
    return {
        "t": start + np.cumsum(source.integers(0, 30, count)),
        "x": source.integers(0, size[1], count),
        "y": source.integers(0, size[0], count),
        "p": source.integers(0, 2, count),
    }


AEDAT2_HEADER = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# created today\r\n"


def write_aedat2(path: Path, events: Columns, header: bytes = AEDAT2_HEADER) -> Path:
    """Write as a DVS128 stores these pixels: turned, and with the polarity inverted."""
    address = (127 - events["x"]) << 8 | (127 - events["y"]) << 1 | (1 - events["p"])
    return write_words(path, np.stack([address, events["t"]], 1), header)


def write_words(path: Path, words: NDArray[np.int64], header: bytes = AEDAT2_HEADER) -> Path:
    """Write (address, time) pairs [n, 2] as AEDAT 2.0."""
    path.write_bytes(header + words.astype(">u4").tobytes())
    return path


AEDAT3_HEADER = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
    b"#Start-Time: 2016-03-18 14:52:46 (TZ+0100)\r\n#!END-HEADER\r\n"
)


def packet(
    events: Columns, overflow: int = 0, valid: int = 1, spare: int = 0, **changes: int
) -> bytes:
    """One AEDAT 3.1 packet of polarity events; `changes` overrule fields of its header."""
    count = len(events["t"])
    fields = {"type": 1, "source": 1, "size": 8, "offset": 4, "overflow": overflow}
    fields |= {"capacity": count + spare, "number": count, "valid": count} | changes
    data = events["x"] << 17 | events["y"] << 2 | events["p"] << 1 | valid
    body = np.stack([data, events["t"]], 1).astype("<u4").tobytes()
    return struct.pack("<hhiiiiii", *fields.values()) + body + bytes(8 * spare)


def special_packet(count: int = 2) -> bytes:
    """A packet of another type than polarity."""
    return struct.pack("<hhiiiiii", 0, 1, 8, 4, 0, count, count, count) + b"\xff" * 8 * count


def part(events: Columns, rows: slice) -> Columns:
    """Some of the events."""
    return {name: column[rows] for name, column in events.items()}


def write_aedat3(path: Path, packets: Sequence[bytes], header: bytes = AEDAT3_HEADER) -> Path:
    """Write AEDAT 3.1."""
    path.write_bytes(header + b"".join(packets))
    return path


def nmnist_bytes(events: Columns) -> bytes:
    """The events as N-MNIST stores them."""
    t, p = events["t"], events["p"]
    columns = [events["x"], events["y"], p << 7 | t >> 16, t >> 8 & 255, t & 255]
    return np.stack(columns, 1).astype(np.uint8).tobytes()


def write_class_folders(
    folder: Path, classes: Sequence[str], count: int, size: tuple[int, int], *, events: int = 60
) -> Path:
    """`class/recording.npz` files of events; those of one class lean to one side."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            columns = random_events(events, size, seed=label * 1000 + index)
            columns["x"] = columns["x"] // 2 + label % 2 * (size[1] // 2)
            np.savez(folder / name / f"{name}_{index}.npz", **columns)
    return folder


def write_gesture(folder: Path) -> Path:
    """DVS128-Gesture of two training files and a test file, with 3 trials of 3 classes each."""
    folder.mkdir()
    names = {"trials_to_train.txt": ["user01_led", "user02_lab"], "trials_to_test.txt": ["user24"]}
    for seed, name in enumerate(chain(*names.values())):
        events = random_events(400, (128, 128), seed, start=5000)
        write_aedat3(
            folder / f"{name}.aedat",
            [packet(part(events, slice(0, 150))), packet(part(events, slice(150, None)))],
        )
        cuts = events["t"][[10, 120, 130, 260, 250, 390]]
        rows = [
            f"{label},{a},{b}"
            for label, a, b in zip((1, 11, 4), cuts[::2], cuts[1::2], strict=True)
        ]
        (folder / f"{name}_labels.csv").write_text(
            "\n".join(["class,startTime_usec,endTime_usec", *rows, ""])
        )
    for name, files in names.items():
        (folder / name).write_text("\n".join(f"{file}.aedat" for file in files) + "\n\n")
    return folder


@cache
def spikingjelly_functions(module: str) -> dict[str, Any]:
    """Functions of a module in ``spikingjelly.datasets``, run from its source.

    The package itself imports torchvision, which is no dependency.
    """
    spec = importlib.util.find_spec("spikingjelly")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "datasets" / f"{module}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if _plain(node)]
    space: dict[str, Any] = {"np": np, "struct": struct, "math": math}
    exec(compile(tree, path, "exec", annotations.compiler_flag), space)
    return space


def _plain(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.FunctionDef) and not node.decorator_list
