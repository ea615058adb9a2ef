"""A site: one place in a network where something can be compressed."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

UNTOUCHED_BITS = 32
"""Bit-width that leaves a weight as it is."""

HALF_BITS = 16
"""Bit-width of a weight that is stored as float16."""

INTEGER_BITS = range(1, 9)
"""Bit-widths of a weight that is stored as integers; 1: as signs."""

FULL_DENSITY = 100
"""Percent of the numbers of a weight tensor that nothing was taken from."""


class SiteKind(enum.StrEnum):
    """What can be chosen at a site."""

    CHANNEL = "channel"
    """Number of kept channels of a coupled group."""
    TOKEN = "token"
    """Number of tokens that a block processes."""
    WEIGHT = "weight"
    """Bit-width of one weight tensor (16 = float16, 32 = untouched)."""
    TIME = "time"
    """Number of time steps of the whole network."""
    STATE = "state"
    """Bit-width of the membrane potentials of one neuron layer (32 = untouched)."""
    DENSITY = "density"
    """Percent of one weight tensor's numbers that are not zero."""
    RESIDUAL = "residual"
    """Number of kept channels of a stage's residual stream."""
    RECOVERY = "recovery"
    """Whether the network is recovered without training after surgery: 1 or 0."""


WIDTH_KINDS = (SiteKind.CHANNEL, SiteKind.RESIDUAL)
"""Kinds whose values are widths of channel groups; no two groups of a network have a name."""

RATIO_KINDS = frozenset({*WIDTH_KINDS, SiteKind.TOKEN, SiteKind.DENSITY})
"""Kinds whose levels are keep ratios in (0, 1]; the others take whole numbers."""

SCOPE_ALL = "all"


@dataclass(frozen=True, slots=True)
class Site:
    """One compressible place, declared by a network.

    Attributes:
        name: module path, e.g. ``block.0.mlp.hidden``; unique within its kind.
        kind: what is chosen here.
        size: the value that changes nothing (channels, tokens, 32 bits, T, 100 %, recovered).
        stage: coarse part of the network that the site belongs to, e.g. ``encoder``.
        block: fine part, e.g. ``block.0``.
        unit: legal values are multiples of it (heads keep equal widths: unit = heads).
    """

    name: str
    kind: SiteKind
    size: int
    stage: str
    block: str
    unit: int = 1

    def __post_init__(self) -> None:
        if self.size < self.unit or self.size % self.unit:
            raise ValueError(f"site {self.name}: size {self.size} is no multiple of {self.unit}")

    @property
    def key(self) -> tuple[str, str]:
        """Identity of the site within a network: (kind, name)."""
        return (self.kind.value, self.name)

    def value_at(self, level: float) -> int:
        """Legal value nearest to a level: a keep ratio, a bit-width or a number of steps."""
        if self.kind not in RATIO_KINDS:
            return min(int(level), self.size)
        units = self.size // self.unit
        kept = math.floor(level * units + 0.5)
        return min(max(kept, 1), units) * self.unit

    def allows(self, value: int) -> bool:
        """Whether a network can be built with this value here."""
        if self.kind is SiteKind.WEIGHT:
            return value in (*INTEGER_BITS, HALF_BITS, UNTOUCHED_BITS)
        if self.kind is SiteKind.STATE:
            return 4 <= value <= 16 or value == UNTOUCHED_BITS
        if self.kind is SiteKind.RECOVERY:
            return value in (0, 1)
        return 0 < value <= self.size and value % self.unit == 0
