"""All named configurations."""

from __future__ import annotations

from collections.abc import Mapping

from .configuration import Configuration
from .qkformer_configurations import CONFIGURATIONS as QKFORMER
from .sdt_v1_configurations import CONFIGURATIONS as SDT_V1
from .sdt_v2 import CONFIGURATIONS as SDT_V2
from .sdt_v3 import CONFIGURATIONS as SDT_V3
from .sdt_v3_large import CONFIGURATIONS as SDT_V3_LARGE
from .spikformer_configurations import CONFIGURATIONS as SPIKFORMER

CONFIGURATIONS: Mapping[str, Configuration] = {
    **SPIKFORMER,
    **SDT_V1,
    **SDT_V2,
    **SDT_V3,
    **SDT_V3_LARGE,
    **QKFORMER,
}
"""Published networks of all families, by name."""
