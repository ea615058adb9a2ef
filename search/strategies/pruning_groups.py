"""Groups that leave together, and the rates at which they leave: axes as pruning papers speak."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from ...spaces.axis import Axis
from ...spaces.candidate import Candidate
from ...spaces.errors import BadInput
from ...spaces.site import SCOPE_ALL, Site, SiteKind
from ...spaces.space import Point, Space

ATTENTION_DIMENSIONS = r"\.(attn|ssa|tssa)\.(qkv|qk|q|k|v)$"
"""Inner dimensions of an attention, by the names that networks give their channel sites. Where q, k
and v are tied (SDT-v1) they are one."""

_TOLERANCE = 1e-9
"""1 - 0.9 is not 0.1 in floating point."""

_DIGITS = 9


@dataclass(frozen=True, slots=True)
class PruningGroup:
    """What is pruned as one: an axis of keep ratios.

    Attributes:
        axis: the axis.
        number: of the axis in its space.
    """

    axis: Axis
    number: int

    @property
    def name(self) -> str:
        """Name of the axis."""
        return self.axis.name

    @property
    def rates(self) -> tuple[float, ...]:
        """Nominal shares that can be taken away, ascending; 0 is not among them."""
        return tuple(rate_of(level) for level in reversed(self.axis.levels[:-1]))

    @property
    def block(self) -> str:
        """Block that the group belongs to; of a group tied over several blocks, the stage."""
        blocks = {site.block for site in self.axis.sites}
        if len(blocks) == 1:
            return blocks.pop()
        stages = {site.stage for site in self.axis.sites}
        return stages.pop() if len(stages) == 1 else SCOPE_ALL

    def index_at(self, rate: float) -> int:
        """Number of the axis's level that a nominal rate stands for.

        Levels that give the same width are listed once, under the largest of them (`Axis.tie`):
        the smallest level that keeps no less than asked for is the one.
        """
        kept = 1 - rate - _TOLERANCE
        return next(index for index, level in enumerate(self.axis.levels) if level >= kept)

    def removed(self, rate: float) -> float:
        """Share of the sites' channels (or weights) that really leaves at a rate."""
        values = self.axis.assign(self.index_at(rate))
        return 1 - sum(values.values()) / sum(site.size for site in values)


@dataclass(frozen=True, slots=True)
class PruningGroups:
    """The groups of one kind that a method prunes, and candidates by their rates.

    Attributes:
        groups: in the order of the space's axes.
        full: point of the space that changes nothing.
        space: that the candidates are of.
    """

    groups: tuple[PruningGroup, ...]
    full: Point
    space: Space

    @classmethod
    def of(cls, space: Space, kind: SiteKind, wanted: Callable[[Site], bool] | None = None) -> Self:
        """Groups of a space whose sites are all wanted (None: whatever is of the kind).

        May be empty.
        """
        groups = (
            PruningGroup(axis, number)
            for number, axis in enumerate(space.axes)
            if axis.kind is kind and (wanted is None or all(map(wanted, axis.sites)))
        )
        return cls(tuple(groups), space.full, space)

    @classmethod
    def channels(
        cls, space: Space, strategy: str, wanted: Callable[[Site], bool] | None = None
    ) -> Self:
        """Channel groups.

        Raises:
            BadInput: the space has none that are wanted.
        """
        found = cls.of(space, SiteKind.CHANNEL, wanted)
        if found.groups:
            return found
        if wanted is None or not cls.of(space, SiteKind.CHANNEL).groups:
            raise BadInput(
                f"strategy {strategy!r} prunes channels; give keep ratios in space.levels.channel."
            )
        raise BadInput(
            f"strategy {strategy!r} prunes channels inside blocks and found no axis of these "
            "alone; give a granularity that does not tie them to a stem (block or layer)."
        )

    @property
    def rates(self) -> tuple[float, ...]:
        """Rates that some group has, ascending: the grid that the levels amount to."""
        return tuple(sorted({rate for group in self.groups for rate in group.rates}))

    def candidate(self, rates: Mapping[str, float]) -> Candidate:
        """Candidate with these rates by group name; groups that are not named stay whole."""
        point = list(self.full)
        for group in self.groups:
            if group.name in rates:
                point[group.number] = group.index_at(rates[group.name])
        return self.space.decode(point)

    def uniform(self, rate: float) -> Candidate:
        """Candidate with one rate for all groups."""
        return self.candidate({group.name: rate for group in self.groups})


def named(pattern: str) -> Callable[[Site], bool]:
    """Whether a regular expression is found in a site's name."""
    compiled = re.compile(pattern)
    return lambda site: compiled.search(site.name) is not None


def rate_of(level: float) -> float:
    """Pruning rate of a keep ratio."""
    return round(1 - level, _DIGITS)
