"""Where the prepared surgery of a trained network lies, for all workers of a machine."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import torch

from ..svtmodels import surgery
from ..svtmodels.surgery.cache import SurgeryCache
from ..svtmodels.surgery.store import SurgeryStore
from .data.cache import cache_folder, cache_limit

LIMIT_GIB = 2.0
"""Size limit unless the environment says otherwise."""

_LIMIT_VARIABLE = "SPIKEFRONT_SURGERY_GIB"


def surgery_store() -> SurgeryStore:
    """Store in the user's cache folder, with ``$SPIKEFRONT_SURGERY_GIB`` as limit (0: none).

    Raises:
        BadInput: the limit is no number of GiB.
    """
    return SurgeryStore(cache_folder("surgery"), cache_limit(_LIMIT_VARIABLE, LIMIT_GIB))


def shared_cache(fingerprint: str) -> SurgeryCache:
    """Cache of one trained network's surgery.

    Args:
        fingerprint: digest of weights, statistics and options.
    """
    return SurgeryCache(surgery_store(), f"{fingerprint} {_code()}")


@functools.cache
def _code() -> str:
    """Digest of the code that prepares: what older code left must not be found."""
    content = hashlib.sha256(torch.__version__.encode())
    for path in sorted(Path(surgery.__path__[0]).glob("*.py")):
        content.update(path.read_bytes())
    return content.hexdigest()
