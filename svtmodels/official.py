"""The official architectures by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..spaces.errors import unknown_name
from .network import Network
from .parts.token_rule import TokenRule
from .qkformer import QKFormer
from .qkformer_plan import VARIANTS as QKFORMER_VARIANTS
from .sdt_v1 import ARCHITECTURE as SDT_V1
from .sdt_v1 import SpikeDrivenTransformer
from .sdt_v2 import ARCHITECTURE as SDT_V2
from .sdt_v2 import MetaSpikeFormer
from .sdt_v3 import ARCHITECTURE as SDT_V3
from .sdt_v3 import ESpikeFormer
from .sdt_v3_large import ARCHITECTURE as SDT_V3_LARGE
from .sdt_v3_large import ESpikeFormerLarge
from .spikformer import Spikformer
from .spikformer_layers import VARIANTS as SPIKFORMER_VARIANTS


class Constructor(Protocol):
    """How every network is built; the arguments are those of `build_official`."""

    def __call__(
        self,
        architecture: str,
        arguments: Mapping[str, Any],
        *,
        widths: Mapping[str, int] | None,
        kept_tokens: Mapping[str, int] | None,
        token_rule: TokenRule | None,
        idle: bool,
    ) -> Network:
        """Untrained network."""
        ...


ARCHITECTURES: Mapping[str, Constructor] = {
    **dict.fromkeys(SPIKFORMER_VARIANTS, Spikformer),
    **dict.fromkeys(QKFORMER_VARIANTS, QKFormer),
    SDT_V1: SpikeDrivenTransformer,
    SDT_V2: MetaSpikeFormer,
    SDT_V3: ESpikeFormer,
    SDT_V3_LARGE: ESpikeFormerLarge,
}
"""Class of each official architecture."""


def build_official(
    architecture: str,
    constructor_args: Mapping[str, Any],
    *,
    widths: Mapping[str, int] | None = None,
    kept_tokens: Mapping[str, int] | None = None,
    token_rule: TokenRule | None = None,
    idle: bool = True,
) -> Network:
    """Untrained network whose `load_state_dict(official, strict=True)` works.

    Args:
        architecture: a key of `ARCHITECTURES`.
        constructor_args: of the official class, as they stand.
        widths: channels of groups that are built smaller.
        kept_tokens: tokens of blocks that process fewer.
        token_rule: how these blocks choose them; None: `TokenRule`'s defaults.
        idle: whether parameters that never act are built; compressed networks go without.

    Raises:
        BadInput: unknown architecture or argument, or arguments that do not fit together.
    """
    construct = ARCHITECTURES.get(architecture)
    if construct is None:
        raise unknown_name("architecture", architecture, ARCHITECTURES)
    return construct(
        architecture,
        constructor_args,
        widths=widths,
        kept_tokens=kept_tokens,
        token_rule=token_rule,
        idle=idle,
    )
