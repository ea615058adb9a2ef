"""The environment of every process that evaluates candidates: threads, waiting, memory.

glibc and OpenMP read these variables once, when a process starts, so they must be there before:
Ray sets them for its workers (`runtime_env`), and whoever starts processes of its own passes
`worker_environment`. `make bench-workers` measures what each of them is worth.
"""

from __future__ import annotations

from collections.abc import Mapping

WAITING: Mapping[str, str] = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""Threads of OpenMP that have nothing to do sleep. On shared cores those that spin take from
the others what they need."""

ALLOCATOR: Mapping[str, str] = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
}
"""Freed memory is kept for the next call. By glibc's defaults every large temporary is mapped
anew, and the kernel clears it page by page."""

_THREADS = "OMP_NUM_THREADS"


def worker_environment(threads: int = 1) -> dict[str, str]:
    """Variables of a process that evaluates.

    Args:
        threads: of OpenMP. One process per core with one thread each evaluates more candidates
            per second than one process with a thread per core.
    """
    return {_THREADS: str(threads), **WAITING, **ALLOCATOR}
