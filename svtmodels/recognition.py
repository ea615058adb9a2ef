"""What is needed to tell a network by its keys and shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..spaces.errors import BadInput


class Shapes:
    """Keys and shapes of a state dict."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    @property
    def names(self) -> tuple[str, ...]:
        """All keys."""
        return tuple(self._shapes)

    def weights(self, architecture: str, *names: str) -> tuple[tuple[int, ...], ...]:
        """Shapes [C_out, C_in, ...] of the weights of an architecture.

        Raises:
            BadInput: some are missing or no weights.
        """
        absent = [name for name in names if name not in self]
        if absent:
            raise BadInput(f"not a {architecture}: missing keys: {', '.join(absent)}.")
        flat = [name for name in names if len(self._shapes[name]) < 2 or 0 in self._shapes[name]]
        if flat:
            raise BadInput(f"not a {architecture}: these are no weight tensors: {', '.join(flat)}.")
        return tuple(self._shapes[name] for name in names)

    def rows(self, name: str, default: int) -> int:
        """Output channels of a weight; where it is missing, a default for the loader to refuse."""
        shape = self._shapes.get(name, ())
        return shape[0] if shape else default

    def count(self, modules: str) -> int:
        """Number of members of a module list."""
        pattern = re.compile(rf"{re.escape(modules)}\.(\d+)\.")
        return len({m.group(1) for name in self._shapes if (m := pattern.match(name))})


@dataclass(frozen=True, slots=True)
class Told:
    """What keys and shapes tell of a network.

    Attributes:
        arguments: of the official constructor.
        unknown: arguments that no shape tells, with their likely values.
    """

    arguments: Mapping[str, Any]
    unknown: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """How the networks of one family are told.

    Attributes:
        architectures: its names.
        find: architecture by keys and shapes; None if they are another family's.
        read: what they tell of an architecture; also takes what is known by name.
    """

    architectures: tuple[str, ...]
    find: Callable[[Shapes], str | None]
    read: Callable[[Shapes, str, Mapping[str, Any]], Told]


def ratio(hidden: int, dim: int) -> float:
    """The `mlp_ratios` that gives so many hidden channels."""
    return hidden // dim if hidden % dim == 0 else hidden / dim
