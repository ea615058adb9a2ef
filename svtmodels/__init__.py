"""The networks, what may be done to them, and their file formats."""

from .checkpoint import load_checkpoint, read_card, save_checkpoint
from .costs import Costs, parent_bytes, static_costs
from .network import Network
from .official import ARCHITECTURES, build_official
from .packed.reader import load_packed, read_golden, read_manifest
from .packed.writer import container_bytes, save_packed
from .surgery.compress import compress

__all__ = [
    "ARCHITECTURES",
    "Costs",
    "Network",
    "build_official",
    "compress",
    "container_bytes",
    "load_checkpoint",
    "load_packed",
    "parent_bytes",
    "read_card",
    "read_golden",
    "read_manifest",
    "save_checkpoint",
    "save_packed",
    "static_costs",
]
