"""What stood at boundaries that several networks have in common, within a memory budget."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

MEBIBYTE = 2**20
_REMEMBERED = 4096
"""Digests of boundaries that have been seen lately: 0.5 MB."""


class Kept(Protocol):
    """Something with a size, which may grow."""

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        ...


@dataclass(slots=True)
class Work:
    """Sections of networks, input included, each counted once for every image.

    Attributes:
        asked: that full runs would have taken.
        run: that were run.
    """

    asked: int = 0
    run: int = 0


_T = TypeVar("_T", bound=Kept)


class PrefixCache:
    """Values by key, of which the longest unused leave first.

    A network's boundary is worth keeping once a second network has it: `shared` says which one.
    Networks that have nothing in common, such as random ones, fill no memory.

    Args:
        budget: bytes that all values together may take; 0: nothing is kept.

    Attributes:
        work: what was done so far by all that reuse its values.
    """

    def __init__(self, budget: int) -> None:
        self.work = Work()
        self._budget = budget
        self._values: OrderedDict[Hashable, Kept] = OrderedDict()
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Memory that the values take."""
        return sum(value.nbytes for value in self._values.values())

    def shared(self, chain: Sequence[bytes]) -> int | None:
        """The last boundary that a network has in common with one that was asked for before.

        Args:
            chain: digests of its boundaries, of which each holds all before it.
        """
        if self._budget <= 0:
            return None
        known = [index for index, digest in enumerate(chain) if digest in self._seen]
        for digest in chain:
            self._seen[digest] = None
            self._seen.move_to_end(digest)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return known[-1] if known else None

    def get(self, key: Hashable, kind: type[_T]) -> _T | None:
        """Value of a key, which counts as used; None if nobody has it."""
        value = self._values.get(key)
        if value is None:
            return None
        self._values.move_to_end(key)
        assert isinstance(value, kind)
        return value

    def reserve(self, key: Hashable, value: Kept, more: int) -> bool:
        """Make room for a value, new or to grow by so many bytes; others leave for it.

        Returns:
            Whether there is room; if not, nothing has changed.
        """
        own = value.nbytes if key in self._values else 0
        if own + more > self._budget:
            return False
        self._values[key] = value
        self._values.move_to_end(key)
        taken = self.nbytes
        while taken + more > self._budget:
            _, oldest = self._values.popitem(last=False)
            taken -= oldest.nbytes
        return True
