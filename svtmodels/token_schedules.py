"""Hand-made token schedules of TP-Spikformer's released code, one per block (methods 3.3).

No search found them: they are what a search is compared with. The names carry the paper's
retention, the mean of squared ratios; because a grid's side is cut to whole tokens, less is really
processed, and `retention` says how much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..spaces.candidate import Candidate
from ..spaces.errors import BadInput, unknown_name
from ..spaces.site import Site, SiteKind
from .network import Network
from .qkformer_plan import VARIANTS as QKFORMER
from .sdt_v1 import ARCHITECTURE as SDT_V1
from .sdt_v3 import ARCHITECTURE as SDT_V3


@dataclass(frozen=True, slots=True)
class TokenSchedule:
    """Sides of the square grids that the blocks process, in order.

    Attributes:
        architectures: that it was made for.
        ratios: of a block's full side, cut to whole tokens; empty if `sides` says it.
        sides: in tokens.
        side: of the full grid that `sides` was made for; 0 where ratios fit any.
    """

    architectures: tuple[str, ...]
    ratios: tuple[float, ...] = ()
    sides: tuple[int, ...] = ()
    side: int = 0

    @property
    def blocks(self) -> int:
        """Blocks that it is made for."""
        return len(self.ratios or self.sides)

    @property
    def nominal(self) -> float:
        """Retention as the paper counts it: the mean of squared ratios."""
        ratios = self.ratios or [side / self.side for side in self.sides]
        return sum(ratio**2 for ratio in ratios) / len(ratios)

    def kept_sides(self, full: tuple[int, ...]) -> tuple[int, ...]:
        """Sides that the blocks process, whose full sides are these."""
        if self.sides:
            return self.sides
        return tuple(int(side * ratio) for side, ratio in zip(full, self.ratios, strict=True))


_SDT_V1_SIDE = 14
_SDT_V1 = (
    (12, 12, 10, 10, 10, 10, 8, 8),
    (14, 12, 12, 12, 10, 10, 10, 10),
    (14, 14, 12, 12, 12, 12, 10, 10),
)
_QKFORMER = (
    (0.8,) * 3 + (0.7,) * 7,
    (0.9,) * 2 + (0.8,) * 5 + (0.75,) * 3,
    (0.95,) * 2 + (0.85,) * 4 + (0.8,) * 4,
    (0.9,) * 6 + (0.85,) * 4,
    (1.0,) * 2 + (0.95,) * 4 + (0.9,) * 4,
)
_SDT_V3 = (
    (0.8,) * 4 + (0.7,) * 4,
    (0.9,) + (0.8,) * 3 + (0.75,) + (0.65,) * 3,
    (0.9,) * 2 + (0.8,) * 3 + (0.75,) * 3,
    (0.95,) * 2 + (0.9,) * 5 + (0.8,),
)
_ALL = (
    *(("sdt-v1", TokenSchedule((SDT_V1,), sides=s, side=_SDT_V1_SIDE)) for s in _SDT_V1),
    *(("qkformer", TokenSchedule(tuple(QKFORMER), ratios)) for ratios in _QKFORMER),
    *(("sdt-v3", TokenSchedule((SDT_V3,), ratios)) for ratios in _SDT_V3),
)
SCHEDULES: Mapping[str, TokenSchedule] = {
    f"{family}-{schedule.nominal:.3f}": schedule for family, schedule in _ALL
}
"""By name: family and nominal retention, e.g. ``sdt-v1-0.520``."""


def schedules_for(network: Network) -> tuple[str, ...]:
    """Names of the schedules that were made for networks of this architecture and depth."""
    blocks = len(network.declaration.tokens)
    return tuple(
        name
        for name, schedule in SCHEDULES.items()
        if network.architecture in schedule.architectures and schedule.blocks == blocks
    )


def scheduled(network: Network, name: str) -> Candidate:
    """Candidate of a hand-made schedule.

    Args:
        network: the trained network.
        name: a key of `SCHEDULES`.

    Raises:
        BadInput: an unknown name, or a schedule for another architecture, depth or grid.
    """
    schedule = _named(name)
    if network.architecture not in schedule.architectures:
        made_for = ", ".join(schedule.architectures)
        raise BadInput(
            f"token schedule {name!r} was made for {made_for}, not for {network.architecture}. "
            f"For this network: {', '.join(schedules_for(network)) or 'none'}."
        )
    return scheduled_at(_token_sites(network), name)


def scheduled_at(sites: Sequence[Site], name: str) -> Candidate:
    """Candidate of a hand-made schedule on token sites alone, whatever network they are of.

    Args:
        sites: token sites of the network's blocks, in order.
        name: a key of `SCHEDULES`.

    Raises:
        BadInput: an unknown name, or a schedule for another depth or grid.
    """
    schedule = _named(name)
    if len(sites) != schedule.blocks:
        raise BadInput(
            f"token schedule {name!r} was made for {schedule.blocks} blocks; "
            f"this network has {len(sites)}. Give one choice per block instead."
        )
    full = _sides(name, sites)
    if schedule.side and set(full) != {schedule.side}:
        raise BadInput(
            f"token schedule {name!r} was made for a grid of {schedule.side} x {schedule.side} "
            f"tokens; this network has {full[0]} x {full[0]}. Give one choice per block instead."
        )
    kept = schedule.kept_sides(full)
    if 0 in kept:
        raise BadInput(
            f"token schedule {name!r} leaves no token of a grid of {full[kept.index(0)]} x "
            f"{full[kept.index(0)]}. Give one choice per block instead."
        )
    return Candidate.of({site: side**2 for site, side in zip(sites, kept, strict=True)})


def retention(network: Network, candidate: Candidate) -> float:
    """Share of its tokens that a block really processes, the mean over all token blocks."""
    sites = _token_sites(network)
    return sum(candidate.value(site) / site.size for site in sites) / len(sites)


def _named(name: str) -> TokenSchedule:
    if name not in SCHEDULES:
        raise unknown_name("token schedule", name, SCHEDULES)
    return SCHEDULES[name]


def _token_sites(network: Network) -> list[Site]:
    return [site for site in network.sites if site.kind is SiteKind.TOKEN]


def _sides(name: str, sites: Sequence[Site]) -> tuple[int, ...]:
    sides = tuple(math.isqrt(site.size) for site in sites)
    for side, site in zip(sides, sites, strict=True):
        if side**2 != site.size:
            raise BadInput(
                f"token schedule {name!r} needs square grids; {site.name} has {site.size} tokens."
            )
    return sides
