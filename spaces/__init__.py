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
from .space import DEFAULT_KINDS, DEFAULT_LEVELS, Granularity, Point, Space
from .surgery import MAGNITUDE, SurgeryOptions

__all__ = [
    "DEFAULT_KINDS",
    "DEFAULT_LEVELS",
    "MAGNITUDE",
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
    "SurgeryOptions",
    "unknown_name",
]
