"""Gets evaluations done somewhere, behind one interface: in this process or on Ray.

`RayBackend` is not named here: importing it imports Ray (``spikefront.cluster.ray_backend``).
"""

from .backend import Backend, Blueprint, Completion, Outcome
from .call import MAX_PAYLOAD
from .in_process import InProcessBackend

__all__ = [
    "MAX_PAYLOAD",
    "Backend",
    "Blueprint",
    "Completion",
    "InProcessBackend",
    "Outcome",
]
