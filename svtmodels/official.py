"""The official architectures by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..spaces.errors import unknown_name
from .network import Network
from .spikformer import Spikformer
from .spikformer_layers import VARIANTS as SPIKFORMER_VARIANTS

ARCHITECTURES: Mapping[str, type[Network]] = dict.fromkeys(SPIKFORMER_VARIANTS, Spikformer)
"""Class of each official architecture."""


def build_official(
    architecture: str,
    constructor_args: Mapping[str, Any],
    *,
    widths: Mapping[str, int] | None = None,
    kept_tokens: Mapping[str, int] | None = None,
    idle: bool = True,
) -> Network:
    """Untrained network whose `load_state_dict(official, strict=True)` works.

    Args:
        architecture: a key of `ARCHITECTURES`.
        constructor_args: of the official class, as they stand.
        widths: channels of groups that are built smaller.
        kept_tokens: tokens of blocks that process fewer.
        idle: whether parameters that never act are built; compressed networks go without.

    Raises:
        BadInput: unknown architecture or argument, or arguments that do not fit together.
    """
    kind = ARCHITECTURES.get(architecture)
    if kind is None:
        raise unknown_name("architecture", architecture, ARCHITECTURES)
    return kind.from_official(
        architecture, constructor_args, widths=widths, kept_tokens=kept_tokens, idle=idle
    )
