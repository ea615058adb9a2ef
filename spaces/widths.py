"""Which widths a channel group may have: what hardware asks for, on top of what heads ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import BadInput
from .site import WIDTH_KINDS, Site, SiteKind


@dataclass(frozen=True, slots=True)
class WidthRule:
    """Widths below the full one are multiples of a number and not below a minimum.

    Attributes:
        minimum: channels that a group keeps at least; a smaller group stays whole.
        multiple: widths are multiples of it and of the site's unit; the full one need not be.

    Raises:
        BadInput: one of them is no whole number from 1.
    """

    minimum: int = 1
    multiple: int = 1

    def __post_init__(self) -> None:
        for name, value in (("minimum_width", self.minimum), ("width_multiple", self.multiple)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BadInput(f"{name} is {value!r}; give a whole number of at least 1.")

    def value_at(self, site: Site, level: float) -> int:
        """Legal value of a site that is nearest to a level; the larger of two as near."""
        if site.kind not in WIDTH_KINDS:
            return site.value_at(level)
        step = math.lcm(site.unit, self.multiple)
        lowest = max(math.ceil(self.minimum / step), 1) * step
        if site.size % step == 0:
            kept = math.floor(level * (site.size // step) + 0.5) * step
            return min(max(kept, lowest), site.size)
        wanted = level * site.size
        kept = max(math.floor(wanted / step + 0.5) * step, lowest)
        return site.size if site.size - wanted <= abs(wanted - kept) else min(kept, site.size)


def chosen_widths(chosen: Mapping[SiteKind, Mapping[str, int]]) -> dict[str, int]:
    """Widths of all channel groups that are not full, those of residual streams among them.

    Args:
        chosen: values that differ from the full size, by kind and site name.
    """
    return {name: width for kind in WIDTH_KINDS for name, width in chosen[kind].items()}
