"""The error tree of the project: one base, few children, each with its exit code.

A message says what was got, what is allowed and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SpikefrontError(Exception):
    """Base of every error that the project raises on purpose."""

    exit_code = 4


class BadInput(SpikefrontError):
    """Something handed in from outside (config, file, candidate, option) is not usable."""

    exit_code = 2


class CorruptFile(BadInput):
    """A file exists but does not hold what its format promises."""


class NothingFeasible(SpikefrontError):
    """A search ended without one candidate that meets the constraints."""

    exit_code = 3


class RunFailed(SpikefrontError):
    """A run could not go on (no space left, cluster gone); what was committed is safe."""

    exit_code = 4


def unknown_name(what: str, got: str, allowed: Iterable[str]) -> BadInput:
    """Error for a name that is not in a closed list, naming the nearest valid one."""
    names = sorted(allowed)
    close = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return BadInput(f"unknown {what} {got!r}.{hint} Allowed: {', '.join(names)}.")
