"""The official architectures by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..spaces.errors import unknown_name
from .build import OFFICIAL, Build
from .network import Network
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

    def __call__(self, architecture: str, arguments: Mapping[str, Any], build: Build) -> Network:
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
    architecture: str, constructor_args: Mapping[str, Any], build: Build = OFFICIAL
) -> Network:
    """Untrained network whose `load_state_dict(official, strict=True)` works.

    Args:
        architecture: a key of `ARCHITECTURES`.
        constructor_args: of the official class, as they stand.
        build: how much of it; compressed networks have fewer channels and tokens.

    Raises:
        BadInput: unknown architecture or argument, or arguments that do not fit together.
    """
    construct = ARCHITECTURES.get(architecture)
    if construct is None:
        raise unknown_name("architecture", architecture, ARCHITECTURES)
    return construct(architecture, constructor_args, build)
