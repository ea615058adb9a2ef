"""Official constructor arguments: defaults filled in, values checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..spaces.errors import BadInput, unknown_name


def complete(
    network: str, arguments: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments with all defaults filled in.

    Raises:
        BadInput: an argument that the network does not know.
    """
    for name in arguments:
        if name not in defaults:
            raise unknown_name(f"argument of {network}", name, defaults)
    return {**defaults, **arguments}


def check_counts(network: str, settings: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse settings that are no whole numbers from 1.

    Raises:
        BadInput: says which.
    """
    for name in names:
        value = settings[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BadInput(
                f"argument {name} of {network}: got {value!r}; give a whole number from 1."
            )


def check_choice(
    network: str, settings: Mapping[str, Any], name: str, allowed: Iterable[Any]
) -> None:
    """Refuse a setting that is not in a list.

    Raises:
        BadInput: says which, and the list.
    """
    allowed = tuple(allowed)
    if settings[name] not in allowed:
        choices = ", ".join(map(repr, allowed))
        raise BadInput(f"argument {name} of {network}: got {settings[name]!r}; allowed: {choices}.")


def check_size(settings: Mapping[str, Any], reduction: int) -> None:
    """Refuse an input whose height or width the pooling does not divide.

    Raises:
        BadInput: says which.
    """
    for name in ("img_size_h", "img_size_w"):
        if settings[name] % reduction:
            raise BadInput(f"{name} {settings[name]} must be a multiple of {reduction}.")


def check_ratio(settings: Mapping[str, Any], dim: int) -> None:
    """Refuse an `mlp_ratios` that leaves no hidden channel.

    Raises:
        BadInput: says what is allowed.
    """
    ratio = settings["mlp_ratios"]
    if not isinstance(ratio, int | float) or not 1 <= dim * ratio < math.inf:
        raise BadInput(f"mlp_ratios {ratio!r} must be a number that leaves at least one channel.")
