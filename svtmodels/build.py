"""What a network is built with, besides its official constructor arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .parts.token_rule import TokenRule


@dataclass(frozen=True, slots=True)
class Build:
    """How much of the official network is built.

    Attributes:
        widths: channels of groups that are built smaller.
        kept_tokens: tokens of blocks that process fewer.
        token_rule: how these blocks choose them.
        idle: whether parameters that never act are built; compressed networks go without.
    """

    widths: Mapping[str, int] = field(default_factory=dict)
    kept_tokens: Mapping[str, int] = field(default_factory=dict)
    token_rule: TokenRule = field(default_factory=TokenRule)
    idle: bool = True


OFFICIAL = Build()
"""All of it."""
