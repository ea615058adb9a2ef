"""What the published methods do where a config says nothing.

``strategy: {name: psvit}`` alone is then the method as its paper describes it, surgery included. A
field that is given wins. Where a paper is silent or could not be read, the value is our choice.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..spaces.site import SiteKind
from ..spaces.space import Granularity

MAGNITUDE: Mapping[str, str | int] = {
    "channels": "l2",
    "compensation": "none",
    "scales": "max",
    "rounding": "nearest",
    "density": "magnitude",
    "recovery_images": 0,
}
"""Surgery of all of them: the smallest weights leave, the largest set the step of integers, and
nothing is made up for."""

_ENOUGH = 100_000

Filled = tuple[str, str]
"""Section and field."""


@dataclass(frozen=True, slots=True)
class Paper:
    """Defaults of a published method.

    Attributes:
        work: title and where it is.
        levels: of the kinds that the method searches; it leaves all others alone.
        max_drop: accuracy that its results lose, a fraction.
        surgery: where it differs from `MAGNITUDE`.
        granularity: of its last step.
    """

    work: str
    levels: Mapping[SiteKind, Sequence[float]]
    max_drop: float
    surgery: Mapping[str, str | int] = field(default_factory=dict)
    granularity: Granularity = Granularity.LAYER

    def fields(self) -> Iterator[tuple[Filled, Any]]:
        """Value of every field of a config that the method has a say in."""
        yield ("space", "granularity"), self.granularity.value
        yield (
            ("space", "levels"),
            {kind.value: list(self.levels.get(kind, ())) for kind in SiteKind},
        )
        yield ("constraints", "max_drop"), self.max_drop
        # It comes to an end by itself.
        yield ("budget", "candidates"), _ENOUGH
        for name, value in {**MAGNITUDE, **self.surgery}.items():
            yield ("surgery", name), value


def _percent(first: int, last: int, step: int) -> tuple[float, ...]:
    """Shares from `first` to `last` percent."""
    return tuple(percent / 100 for percent in range(first, last + 1, step))


_AQ4SVIT = Paper(
    "AQ4SViT (arXiv 2606.15523)",
    {SiteKind.WEIGHT: (2, 3, 4, 5, 6, 8, 16)},
    max_drop=0.015,
    surgery={"vectors": "float16"},
    granularity=Granularity.BLOCK,
)
_KEPT_SYNAPSES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
_L1P = Paper(
    "Synapse Pruning Meets Synergistic Learning-Based Compensation, L1P (arXiv 2508.01992)",
    {SiteKind.DENSITY: _KEPT_SYNAPSES},
    max_drop=0.015,
)
_DSP = Paper(
    "Synapse Pruning Meets Synergistic Learning-Based Compensation, DSP (arXiv 2508.01992)",
    {SiteKind.CHANNEL: _KEPT_SYNAPSES},
    max_drop=0.015,
    surgery={"channels": "l1-joint"},
)
PAPERS: Mapping[str, Paper] = {
    "psvit": Paper(
        "PSViT (arXiv 2606.03257)", {SiteKind.CHANNEL: _percent(50, 90, 10)}, max_drop=0.03
    ),
    "primesvt": Paper(
        "PrimeSVT (arXiv 2606.03428)", {SiteKind.CHANNEL: _percent(10, 95, 5)}, max_drop=0.03
    ),
    "aq4svit-greedy": _AQ4SVIT,
    "aq4svit-beam": _AQ4SVIT,
    "tp-spikformer": Paper(
        "TP-Spikformer (arXiv 2603.00527)",
        {SiteKind.TOKEN: _percent(30, 100, 5)},
        max_drop=0.015,
        surgery={"tokens": "information"},
    ),
    "synapse-pruning": _L1P,
}
"""By strategy. L1P is `synapse-pruning` in its default mode; `paper_of` knows the other one."""


def paper_of(strategy: Mapping[str, Any]) -> Paper | None:
    """Paper of a config's strategy section as it was written; None: it is of no paper."""
    name, options = strategy.get("name"), strategy.get("options")
    if name == "synapse-pruning" and isinstance(options, Mapping) and options.get("mode") == "dsp":
        return _DSP
    return PAPERS.get(name) if isinstance(name, str) else None


def fill_in(data: Mapping[Any, Any]) -> tuple[dict[Any, Any], list[Filled]]:
    """A config as it was written, with what its method's paper says of all that it leaves open.

    A section that is no mapping is left to whoever checks the config.

    Returns:
        The whole config, and which of its fields were filled in.
    """
    filled = copy.deepcopy(dict(data))
    strategy = filled.get("strategy")
    paper = paper_of(strategy) if isinstance(strategy, Mapping) else None
    added: list[Filled] = []
    for (section, name), value in paper.fields() if paper is not None else ():
        given = filled.setdefault(section, {})
        if isinstance(given, dict) and name not in given:
            given[name] = value
            added.append((section, name))
    return filled, added
