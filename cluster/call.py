"""One call, the same wherever it runs: bytes in, bytes out, exceptions as text."""

from __future__ import annotations

import os
import pickle
import platform
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from ..spaces.errors import BadInput

MAX_PAYLOAD = 64 * 1024
"""A pickled request has fewer bytes than this."""


class Reply(NamedTuple):
    """What one call gave: a pickled result, or the traceback of what it raised."""

    result: bytes | None
    error: str | None
    seconds: float


def pack(task: int, request: object) -> bytes:
    """Request as bytes.

    Raises `BadInput` for a request that cannot be pickled or is not below `MAX_PAYLOAD`.
    """
    try:
        payload = pickle.dumps(request, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise BadInput(
            f"the request of task {task} cannot be pickled: {error}. "
            "A request is plain data of importable types."
        ) from error
    if len(payload) >= MAX_PAYLOAD:
        raise BadInput(
            f"the request of task {task} has {len(payload):,} bytes pickled; it must stay below "
            f"{MAX_PAYLOAD:,}. What all tasks share belongs into the blueprint."
        )
    return payload


def perform(call: Callable[[Any], Any], payload: bytes) -> Reply:
    """Run one packed request; whatever it raises becomes text, a result becomes bytes.

    Both backends go through here, so that a request or a result that cannot cross a process
    border fails in the same way on either.
    """
    started = time.perf_counter()
    try:
        result = pickle.dumps(call(pickle.loads(payload)), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:
        return Reply(None, traceback.format_exc(), time.perf_counter() - started)
    return Reply(result, None, time.perf_counter() - started)


def worker_name() -> str:
    """Name of the process that asks: ``host:pid``."""
    return f"{platform.node()}:{os.getpid()}"
