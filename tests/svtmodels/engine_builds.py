"""The kernels in several builds: as this machine loads them, and as others would."""

from __future__ import annotations

import ctypes
import functools
import platform
import subprocess
import tempfile
from pathlib import Path

import pytest

from spikefront.svtmodels.engine import library, structs
from spikefront.svtmodels.parts.compiled import compiler

_SOURCES = sorted((Path(library.__file__).parent / "native").glob("*.c"))
_ALWAYS = ("-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing", "-w")
HERE = "this machine"
_NARROW = ("-mno-avx512f",) if platform.machine() == "x86_64" else ()
BUILDS = {
    HERE: None,
    "without wide vectors": ("-O1", "-march=native", *_NARROW),
    "any machine": ("-O1",),
}
"""Flags; None: those of the package."""


@functools.cache
def kernels_of(build: str) -> ctypes.CDLL:
    """The kernels in one of `BUILDS`."""
    found, flags = compiler(), BUILDS[build]
    if flags is None:
        kernels = library.kernels()
        assert kernels is not None
        return kernels
    assert found is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "engine.so"
        command = [found, *flags, *_ALWAYS, "-o", str(path), *map(str, _SOURCES), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        built = ctypes.CDLL(str(path))
    for kind, result in ((structs.KERNELS, None), (structs.MEASURES, ctypes.c_int64)):
        for name, arguments in kind.items():
            function = getattr(built, name)
            function.argtypes, function.restype = [ctypes.POINTER(arguments)], result
    built.has_byte_products.restype = ctypes.c_int64
    return built


each_build = pytest.mark.parametrize("build", BUILDS)
