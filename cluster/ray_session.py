"""The connection to Ray: quiet, local, closed to others; or the one that is there already."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# Ray reads its authentication mode once, when it is imported: every process of a cluster must
# name it, or drivers and heads disagree. Where Ray is there already, its choice stands.
if "ray" not in sys.modules:
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray
from ray._private import ray_constants
from ray._private import worker as ray_worker

from ..spaces.errors import RunFailed

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Environment of a Ray that reports to nobody and does not warn of its own future."""


class RaySession:
    """Ray as this process uses it; `close` shuts down only what was started or joined here.

    If the caller has initialised Ray, that one is used and `address` is ignored. The address
    ``"local"`` starts a Ray of our own, which listens on the loopback interface only and demands
    a token that nobody else knows; any other address joins a running cluster, whose
    authentication the user configures (``RAY_AUTH_MODE`` and ``RAY_AUTH_TOKEN_PATH``).

    Raises `RunFailed` if the cluster cannot be joined or started.
    """

    def __init__(self, address: str, cpus: int, resources: Mapping[str, float]) -> None:
        self._ours = not ray.is_initialized()
        if not self._ours:
            return
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        try:
            if address == "local":
                _start(cpus, resources)
            else:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            raise RunFailed(
                f"no Ray at address {address!r}: {error}. Use address 'local' or that of a running "
                "head, with the head's own RAY_AUTH_MODE."
            ) from error
        _print_of_workers(False)

    def close(self) -> None:
        """Disconnect, and stop the Ray that was started here. May be called again."""
        if self._ours and ray.is_initialized():
            ray.shutdown()
            _print_of_workers(True)


def _start(cpus: int, resources: Mapping[str, float]) -> None:
    if not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with _loopback_only():
        ray.init(
            address="local",
            num_cpus=cpus,
            resources=dict(resources) or None,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


@contextmanager
def _loopback_only() -> Iterator[None]:
    """Ray on Linux listens on every interface; its own switch for desktops says loopback."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _print_of_workers(enabled: bool) -> None:
    """Ray prints each death of a worker to stdout, even with `log_to_driver` off.

    The stdout of a command is for its result; deaths are logged by the backend.
    """
    ray_worker._worker_logs_enabled = enabled
