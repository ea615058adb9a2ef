"""Which official architecture a state dict belongs to, from its keys and shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..spaces.errors import BadInput, unknown_name
from .metaformer_recognition import FAMILY as METAFORMER
from .qkformer_recognition import FAMILY as QKFORMER
from .recognition import Family, Shapes, Told
from .sdt_v1_recognition import FAMILY as SDT_V1
from .spikformer_recognition import FAMILY as SPIKFORMER

_FAMILIES = (SDT_V1, METAFORMER, QKFORMER, SPIKFORMER)


def recognise(state: Mapping[str, Tensor], known: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Architecture and constructor arguments of an official state dict.

    Args:
        state: official keys and tensors.
        known: arguments that shapes cannot tell, or that shall overrule what they tell; may
            hold `architecture`.

    Raises:
        BadInput: not recognised, or something must be told by name.
    """
    given = dict(known)
    shapes = Shapes(state)
    family, architecture = _family(shapes, given.pop("architecture", None))
    told = family.read(shapes, architecture, given)
    _ask(architecture, told, given)
    return architecture, {**told.arguments, **given}


def _family(shapes: Shapes, named: str | None) -> tuple[Family, str]:
    for family in _FAMILIES:
        found = family.find(shapes) if named is None else named
        if found in family.architectures:
            return family, found
    allowed = sorted(name for family in _FAMILIES for name in family.architectures)
    if named is not None:
        raise unknown_name("architecture", named, allowed)
    some = ", ".join(shapes.names[:3])
    raise BadInput(
        f"no known network has these keys ({some}, …); known: {', '.join(allowed)}. "
        "Give architecture=… to see what differs."
    )


def _ask(architecture: str, told: Told, given: Mapping[str, Any]) -> None:
    """Refuse to guess what no shape tells."""
    missing = [
        f"{name}=… (likely: {', '.join(map(str, likely))})"
        for name, likely in told.unknown.items()
        if name not in given
    ]
    if missing:
        raise BadInput(
            f"{architecture}: not all can be read off the weights: give {', '.join(missing)}."
        )
