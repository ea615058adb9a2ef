"""Packs a front member and verifies a packed model from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..spaces.candidate import Candidate
from ..spaces.errors import BadInput
from ..svtmodels.packed.golden import golden_vectors
from ..svtmodels.packed.reader import load_packed, read_golden, read_manifest, read_packed
from ..svtmodels.packed.writer import container_bytes, save_packed
from .accuracy import correct
from .blueprint import Blueprint
from .data.preprocessing import Preprocessing
from .data.settings import load_splits
from .engines import COMPILED
from .runner import Runner, available_engine

_GOLDEN_IMAGES = 4
_ACCURACY_TOLERANCE = 0.005
"""Float32 differs between kinds of CPU; a few near-threshold images may then flip."""


def pack_member(
    blueprint: Blueprint, candidate: Candidate, folder: Path, record: Mapping[str, Any]
) -> int:
    """Write the packed folder of a candidate.

    Args:
        blueprint: of the search.
        candidate: a front member.
        folder: replaced if it exists.
        record: measures and provenance; preprocessing, classes and data digests are added.

    Returns:
        Bytes of all files of the folder.
    """
    small = blueprint.builder().build(candidate)
    images = blueprint.calibration.images[:_GOLDEN_IMAGES]
    full = {
        **record,
        "preprocessing": blueprint.preprocessing.to_dict(),
        "classes": list(blueprint.search.classes),
        "test_digest": blueprint.test.digest,
        "search_digest": blueprint.search.digest,
    }
    inputs = blueprint.preprocessing.apply(images)
    save_packed(small, folder, golden_inputs=inputs, record=full)
    return container_bytes(folder)


@dataclass(frozen=True, slots=True)
class Verification:
    """What a packed folder proved to be.

    Attributes:
        folder: that was read.
        bytes_recorded: in the search's record.
        bytes_measured: of the tensors in the file.
        golden: whether logits and spike counts of the golden inputs are reproduced exactly.
        accuracy_recorded: on the test split.
        accuracy_measured: the same, from the file; None if the data was not evaluated.
        n_test: number of test images.
    """

    folder: Path
    bytes_recorded: int
    bytes_measured: int
    golden: bool
    accuracy_recorded: float | None
    accuracy_measured: float | None
    n_test: int

    @property
    def passed(self) -> bool:
        """Whether everything that was checked holds."""
        if self.bytes_recorded != self.bytes_measured or not self.golden:
            return False
        if self.accuracy_measured is None or self.accuracy_recorded is None:
            return True
        return abs(self.accuracy_measured - self.accuracy_recorded) <= _ACCURACY_TOLERANCE


def verify(folder: Path, *, with_data: bool = True) -> Verification:
    """Load a packed model and check bytes, golden vectors and accuracy against its record.

    Args:
        folder: a packed folder.
        with_data: whether to evaluate the test split that the record names.

    Raises:
        BadInput: no packed folder, or its test data is not what it was.
        CorruptFile: a file is missing, truncated or altered.
    """
    manifest = read_manifest(folder)
    record = manifest["record"]
    network = load_packed(folder)
    accuracy, images = None, 0
    if with_data and record.get("data") is not None:
        options = {k: v for k, v in record["data"].items() if k != "preprocessing"}
        test = load_splits(options, with_train=False).test
        if test.digest != record.get("test_digest"):
            raise BadInput(f"{folder}: the test images are not those of its record.")
        preprocessing = Preprocessing.from_dict(record["preprocessing"])
        runner = Runner(network, available_engine(COMPILED)[0])
        accuracy, images = float(correct(runner, test, preprocessing).double().mean()), len(test)
    return Verification(
        folder=folder,
        bytes_recorded=int(record.get("bytes", manifest["bytes"])),
        bytes_measured=_tensor_bytes(folder),
        golden=_golden_holds(folder),
        accuracy_recorded=record.get("accuracy_test"),
        accuracy_measured=accuracy,
        n_test=images,
    )


def _golden_holds(folder: Path) -> bool:
    expected = read_golden(folder)
    got = golden_vectors(load_packed(folder), torch.from_numpy(expected["inputs"].copy()))
    return all(np.array_equal(got[name], expected[name]) for name in ("logits", "spikes"))


def _tensor_bytes(folder: Path) -> int:
    _, arrays = read_packed(folder)
    return sum(array.nbytes for array in arrays.values())
