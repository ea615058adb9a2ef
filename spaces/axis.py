"""An axis: one searchable choice with a static, finite range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .site import Site, SiteKind
from .widths import WidthRule

_ANY = WidthRule()


@dataclass(frozen=True, slots=True)
class Axis:
    """One choice, tied over all of its sites.

    Attributes:
        name: ``kind`` or ``kind:scope``, e.g. ``weight:block.0``.
        kind: kind of all its sites.
        sites: the tied sites.
        levels: nominal levels, ascending: keep ratios, bit-widths or steps. Levels that give
            every site the same value are listed once.
        widths: that channels may have.
    """

    name: str
    kind: SiteKind
    sites: tuple[Site, ...]
    levels: tuple[float, ...]
    widths: WidthRule = _ANY

    @classmethod
    def tie(
        cls,
        name: str,
        sites: Sequence[Site],
        levels: Sequence[float],
        widths: WidthRule = _ANY,
    ) -> Axis:
        """Axis over sites of one kind; levels that cannot be told apart are merged."""
        distinct: dict[tuple[int, ...], float] = {}
        for level in sorted(levels):
            # The last one wins, so that a level of 1.0 is named 1.0 and not by its neighbour.
            distinct[tuple(widths.value_at(site, level) for site in sites)] = level
        return cls(name, sites[0].kind, tuple(sites), tuple(distinct.values()), widths)

    def assign(self, index: int) -> dict[Site, int]:
        """Values that level number `index` gives to the sites."""
        level = self.levels[index]
        return {site: self.widths.value_at(site, level) for site in self.sites}

    def find(self, values: Mapping[Site, int]) -> int | None:
        """Number of the level that gives exactly these values; None if there is none."""
        wanted = [values[site] for site in self.sites]
        for index, level in enumerate(self.levels):
            if [self.widths.value_at(site, level) for site in self.sites] == wanted:
                return index
        return None
