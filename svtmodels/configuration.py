"""Named configurations: the networks that papers and repositories report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Configuration:
    """One published network.

    Attributes:
        name: as its authors call it, with the data set where they use one name for several.
        architecture: a key of `official.ARCHITECTURES`.
        arguments: of the official constructor.
        parameters: of the official network, those that never act included.
        time_steps: T that it was trained with.
        resolution: height and width of its input.
        accuracy: published top-1 accuracy in percent; None if there is none.
        source: where the accuracy is published.
    """

    name: str
    architecture: str
    arguments: Mapping[str, Any]
    parameters: int
    time_steps: int
    resolution: int
    accuracy: float | None
    source: str
