"""Plain C built once per machine with the system's compiler, and loaded through ctypes.

A C file loaded this way builds in a second, where a torch extension needs 30 to 60 (it parses
torch's headers) and must be rebuilt for every torch version. Arrays are handed over as pointers.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

_LOG = logging.getLogger(__name__)

# -ffp-contract=off keeps every rounding of the plain torch twin.
_FLAGS = (
    "-O3",
    "-march=native",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-strict-aliasing",
    "-fPIC",
    "-shared",
)


def compiler() -> str | None:
    """The system's C compiler (``$CC``, or ``cc``); None if there is none."""
    return shutil.which(os.environ.get("CC", "cc"))


def load(
    name: str,
    sources: Sequence[Path],
    included: Sequence[Path] = (),
    *,
    switch: str,
    otherwise: str,
) -> ctypes.CDLL | None:
    """Library of C files, built where no undamaged one of this machine lies in the cache.

    None where it is switched off, or cannot be built, which a warning says.

    Args:
        name: of the file in the cache, and in the warning.
        sources: to compile.
        included: headers that they include, which lie beside them.
        switch: environment variable; 1 switches it off.
        otherwise: what happens without it, for the warning.
    """
    if os.environ.get(switch) == "1":
        return None
    found = compiler()
    if found is None:
        _LOG.warning("no C compiler found: %s", otherwise)
        return None
    try:
        return ctypes.CDLL(str(_built(found, name, sources, included)))
    except (OSError, subprocess.SubprocessError) as error:
        _LOG.warning("compiled %s not available (%s): %s", name, error, otherwise)
        return None


def _built(compiler: str, name: str, sources: Sequence[Path], included: Sequence[Path]) -> Path:
    folder, identity = _cache_folder(), _identity(compiler, (*sources, *included))
    for found in folder.glob(f"{name}-{identity}-*.so"):
        if found.stem.endswith(_digest(found.read_bytes())):
            return found
        # Loading a truncated library kills the process (SIGBUS), so the name vouches for it.
        found.unlink(missing_ok=True)
    # Several workers may build at once: each writes its own file, the last rename wins.
    handle, written = tempfile.mkstemp(suffix=".so.tmp", dir=folder)
    os.close(handle)
    built = Path(written)
    try:
        subprocess.run(
            [compiler, *_FLAGS, "-o", written, *map(str, sources), "-lm"],
            check=True,
            capture_output=True,
            timeout=120,
        )
        return built.replace(folder / f"{name}-{identity}-{_digest(built.read_bytes())}.so")
    finally:
        built.unlink(missing_ok=True)


def _identity(compiler: str, files: Sequence[Path]) -> str:
    # -march=native: a cache folder shared by unlike machines must not mix their builds.
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=30).stdout
    contents = [path.read_bytes() for path in files]
    return _digest(b"\0".join([*contents, " ".join(_FLAGS).encode(), version, _cpu().encode()]))


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
