"""A space: the axes of one network at one granularity."""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .axis import Axis
from .candidate import Candidate
from .errors import BadInput, unknown_name
from .site import RATIO_KINDS, SCOPE_ALL, Site, SiteKind
from .widths import WidthRule

Point = tuple[int, ...]
"""One level number per axis."""

DEFAULT_LEVELS: Mapping[SiteKind, tuple[float, ...]] = {
    SiteKind.CHANNEL: (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0),
    SiteKind.TOKEN: (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    SiteKind.WEIGHT: (2, 3, 4, 5, 6, 8, 32),
    SiteKind.TIME: (1, 2, 3, 4),
    SiteKind.STATE: (4, 6, 8, 12, 16, 32),
    SiteKind.DENSITY: (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0),
    SiteKind.RESIDUAL: (0.5, 0.625, 0.75, 0.875, 1.0),
    SiteKind.RECOVERY: (0, 1),
}

DEFAULT_KINDS = (SiteKind.CHANNEL, SiteKind.TOKEN, SiteKind.WEIGHT, SiteKind.TIME)
"""What is searched where nothing is said; the others are searched when they are named."""


class Granularity(enum.StrEnum):
    """How many sites share one choice."""

    NETWORK = "network"
    STAGE = "stage"
    BLOCK = "block"
    LAYER = "layer"

    def scope(self, site: Site) -> str:
        """Name of the group of sites that this one is tied to."""
        match self:
            case Granularity.NETWORK:
                return SCOPE_ALL
            case Granularity.STAGE:
                return site.stage
            case Granularity.BLOCK:
                return site.block
            case Granularity.LAYER:
                return site.name


@dataclass(frozen=True, slots=True)
class Space:
    """All candidates that a search may try: a finite product of axes.

    Every point decodes to a candidate that can be built. Spaces of one network with the same
    levels nest: what a coarse one can say, a finer one can say too.
    """

    granularity: Granularity
    axes: tuple[Axis, ...]
    sites: tuple[Site, ...]

    @classmethod
    def build(
        cls,
        sites: Iterable[Site],
        granularity: Granularity | str = Granularity.LAYER,
        levels: Mapping[SiteKind, Sequence[float]] | None = None,
        *,
        minimum_width: int = 1,
        width_multiple: int = 1,
    ) -> Space:
        """Space over the kinds named in `levels` (None: `DEFAULT_KINDS` with default levels).

        The full size always is a level (nothing needs to be compressed), whether named or not.
        Axes with a single level are left out. Channels keep at least `minimum_width` of a group
        and a multiple of `width_multiple`, or all of them.

        Raises:
            BadInput: unknown granularity, a level or a limit of widths out of range, or no axis
                left.
        """
        if granularity not in set(Granularity):
            raise unknown_name("granularity", str(granularity), (g.value for g in Granularity))
        granularity = Granularity(granularity)
        widths = WidthRule(minimum_width, width_multiple)
        sites = tuple(sites)
        chosen = {k: DEFAULT_LEVELS[k] for k in DEFAULT_KINDS} if levels is None else levels
        groups: dict[tuple[SiteKind, str], list[Site]] = {}
        for site in sites:
            if site.kind in chosen:
                groups.setdefault((site.kind, granularity.scope(site)), []).append(site)
        axes = []
        for (kind, scope), tied in groups.items():
            name = kind.value if scope == SCOPE_ALL else f"{kind.value}:{scope}"
            axis = Axis.tie(name, tied, _with_full(kind, chosen[kind], tied), widths)
            if len(axis.levels) > 1:
                axes.append(axis)
        if not axes:
            raise BadInput("the space has no axis with more than one level; name some levels.")
        return cls(granularity, tuple(axes), sites)

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(len(axis.levels) for axis in self.axes)

    @property
    def full(self) -> Point:
        """The point that changes nothing."""
        return self.encode(Candidate())

    def decode(self, point: Sequence[int]) -> Candidate:
        """Candidate of a point."""
        if len(point) != len(self.axes):
            raise BadInput(f"a point needs {len(self.axes)} level numbers, got {len(point)}.")
        values: dict[Site, int] = {}
        for axis, index in zip(self.axes, point, strict=True):
            if not 0 <= index < len(axis.levels):
                raise BadInput(f"axis {axis.name}: level {index} of 0..{len(axis.levels) - 1}.")
            values |= axis.assign(index)
        return Candidate.of(values)

    def encode(self, candidate: Candidate) -> Point:
        """Point of a candidate.

        Raises:
            BadInput: the candidate touches a site without an axis, or needs a value that no
                level of the axis gives to all of its sites.
        """
        values = candidate.values(self.sites)
        point = []
        for axis in self.axes:
            index = axis.find(values)
            if index is None:
                got = {site.name: values[site] for site in axis.sites}
                raise BadInput(
                    f"axis {axis.name} cannot express {got}; its levels are {axis.levels}."
                )
            point.append(index)
        if self.decode(point) != candidate:
            raise BadInput("the candidate chooses at sites that this space has no axis for.")
        return tuple(point)

    def sample(self, rng: random.Random) -> Candidate:
        """A candidate drawn uniformly, axis by axis."""
        return self.decode([rng.randrange(len(axis.levels)) for axis in self.axes])


def _with_full(kind: SiteKind, levels: Sequence[float], sites: Sequence[Site]) -> list[float]:
    full = 1.0 if kind in RATIO_KINDS else max(site.size for site in sites)
    for level in levels:
        if not _is_legal(kind, level, sites):
            raise BadInput(f"{kind} level {level!r} is out of range (full size: {full}).")
    return sorted({*levels, full})


def _is_legal(kind: SiteKind, level: float, sites: Sequence[Site]) -> bool:
    if kind in RATIO_KINDS:
        return 0 < level <= 1
    if not float(level).is_integer():
        return False
    # More steps than a network has mean all of its steps; other values must exist as they are.
    return level > 0 if kind is SiteKind.TIME else all(s.allows(int(level)) for s in sites)
