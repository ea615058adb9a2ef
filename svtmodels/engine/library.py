"""The engine's kernels, compiled once per machine."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

from ..parts.compiled import load
from . import structs

_FOLDER = Path(__file__).with_name("native")
DISABLE_VARIABLE = "SPIKEFRONT_PLAIN_ENGINE"
"""Environment variable: set to 1 to evaluate with the plain torch modules."""


@functools.cache
def kernels() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they are switched off or cannot be built."""
    library = load(
        "engine",
        sorted(_FOLDER.glob("*.c")),
        sorted(_FOLDER.glob("*.h")),
        switch=DISABLE_VARIABLE,
        otherwise="evaluations run in plain torch, more slowly",
    )
    return None if library is None else _declared(library)


def engine_backend() -> str:
    """Which engine runs evaluations: ``compiled`` or ``torch``."""
    return "torch" if kernels() is None else "compiled"


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    for kernel, arguments in structs.KERNELS.items():
        function = getattr(library, kernel)
        function.argtypes, function.restype = [ctypes.POINTER(arguments)], None
    for kernel, arguments in structs.MEASURES.items():
        function = getattr(library, kernel)
        function.argtypes, function.restype = [ctypes.POINTER(arguments)], ctypes.c_int64
    library.has_byte_products.argtypes, library.has_byte_products.restype = [], ctypes.c_int64
    return library
