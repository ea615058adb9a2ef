"""The vocabulary of a search: sites, axes, candidates and spaces. Pure Python, no torch."""

from .axis import Axis
from .candidate import Candidate
from .errors import (
    BadInput,
    CorruptFile,
    NothingFeasible,
    RunFailed,
    SpikefrontError,
    unknown_name,
)
from .site import UNTOUCHED_BITS, Site, SiteKind
from .space import DEFAULT_LEVELS, Granularity, Point, Space

__all__ = [
    "DEFAULT_LEVELS",
    "UNTOUCHED_BITS",
    "Axis",
    "BadInput",
    "Candidate",
    "CorruptFile",
    "Granularity",
    "NothingFeasible",
    "Point",
    "RunFailed",
    "Site",
    "SiteKind",
    "Space",
    "SpikefrontError",
    "unknown_name",
]
