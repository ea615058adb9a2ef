"""Compiled CPU kernels: plain C, built once per machine with the system's compiler.

A C file loaded through ctypes builds in under a second, where a torch extension needs 30 to 60
(it parses torch's headers) and must be rebuilt for every torch version. Arrays are handed over as
pointers. Without a compiler nothing is built and `lif_kernel` is None; callers then run plain
torch and `neuron_backend` says so.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from spikingjelly.activation_based import functional

_LOG = logging.getLogger(__name__)
_SOURCE = Path(__file__).with_name("lif.c")
# -ffp-contract=off keeps every rounding of the plain torch twin.
_FLAGS = (
    "-O3",
    "-march=native",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
)
DISABLE_VARIABLE = "SPIKEFRONT_PLAIN_NEURON"
"""Environment variable: set to 1 to run the neurons in plain torch."""


@functools.cache
def lif_kernel() -> ctypes.CDLL | None:
    """The compiled neuron, or None where it is switched off or cannot be built."""
    if os.environ.get(DISABLE_VARIABLE) == "1":
        return None
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        _LOG.warning("no C compiler found: neurons run in plain torch, several times slower")
        return None
    try:
        return _declare(ctypes.CDLL(str(_build(compiler))))
    except (OSError, subprocess.SubprocessError) as error:
        _LOG.warning("compiled neuron not available (%s): neurons run in plain torch", error)
        return None


def neuron_backend(device: str = "cpu") -> str:
    """Which neuron implementation runs: ``compiled``, ``torch``, or spikingjelly's on a GPU.

    Args:
        device: ``cpu`` or ``cuda``.
    """
    if device != "cpu":
        chosen = functional.neuron_implementation("lif", torch.device(device))
        return f"spikingjelly, {chosen['implementation']}"
    return "torch" if lif_kernel() is None else "compiled"


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, count, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
    for suffix in ("f32", "f64", "bf16"):
        forward = getattr(library, f"lif_forward_{suffix}")
        forward.argtypes = [pointer, pointer, count, count, count, real, real]
        forward.restype = None
        backward = getattr(library, f"lif_backward_{suffix}")
        backward.argtypes = [pointer, pointer, pointer, count, count, count, real, real, real]
        backward.restype = None
    for suffix in ("f32", "f64"):
        states = getattr(library, f"lif_states_{suffix}")
        states.argtypes = [pointer, pointer, count, count, count, real, real, real, real]
        states.restype = None
    return library


def _build(compiler: str) -> Path:
    """Library of this machine and source, from the cache if an undamaged one lies there."""
    folder, identity = _cache_folder(), _identity(compiler)
    for found in folder.glob(f"lif-{identity}-*.so"):
        if found.stem.endswith(_digest(found.read_bytes())):
            return found
        # Loading a truncated library kills the process (SIGBUS), so the name vouches for it.
        found.unlink(missing_ok=True)
    # Several workers may build at once: each writes its own file, the last rename wins.
    handle, name = tempfile.mkstemp(suffix=".so.tmp", dir=folder)
    os.close(handle)
    built = Path(name)
    try:
        subprocess.run(
            [compiler, *_FLAGS, "-o", name, str(_SOURCE), "-lm"],
            check=True,
            capture_output=True,
            timeout=120,
        )
        return built.replace(folder / f"lif-{identity}-{_digest(built.read_bytes())}.so")
    finally:
        built.unlink(missing_ok=True)


def _identity(compiler: str) -> str:
    # -march=native: a cache folder shared by unlike machines must not mix their builds.
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=30).stdout
    parts = [_SOURCE.read_bytes(), " ".join(_FLAGS).encode(), version, _cpu().encode()]
    return _digest(b"\0".join(parts))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    wanted = ("model name", "flags", "Features")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "spikefront"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="spikefront-"))
