"""What surgery has prepared: at hand in memory, shared between processes on disk."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from torch import Tensor

from .store import SurgeryStore

MEMORY_BYTES = 256 * 2**20
"""Memory of one network's prepared weights and codes; the longest unused leave first."""

_T = TypeVar("_T")


class SurgeryCache:
    """Values by key; each is a dataclass of tensors, some of which may be None.

    Args:
        store: shared with other processes; None: each prepares for itself.
        owner: digest of everything besides the key that decides over a value: the network, the
            options, and what was measured of it.
    """

    def __init__(self, store: SurgeryStore | None = None, owner: str = "") -> None:
        self._store = store
        self._owner = owner
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[Any, ...], kind: Callable[..., _T], make: Callable[[], _T]) -> _T:
        """Value of a key, made if nobody has it.

        Args:
            key: of strings, bytes, numbers, None and tuples of them; the first says what it is.
            kind: of the value, a dataclass of tensors.
            make: makes it.
        """
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = make() if self._store is None else self._stored(self._store, key, kind, make)
        self._values[key] = value
        self._bytes += _bytes(value)
        while self._bytes > MEMORY_BYTES and len(self._values) > 1:
            _, oldest = self._values.popitem(last=False)
            self._bytes -= _bytes(oldest)
        return value

    def _stored(
        self,
        store: SurgeryStore,
        key: tuple[Any, ...],
        kind: Callable[..., _T],
        make: Callable[[], _T],
    ) -> _T:
        name = hashlib.sha256(repr((self._owner, key)).encode()).hexdigest()[:32]
        found = store.tensors(key[0], name, lambda: _tensors(make()))
        fields = dataclasses.fields(kind)  # pyright: ignore[reportArgumentType]
        return kind(**{field.name: found.get(field.name) for field in fields})


def _tensors(value: Any) -> dict[str, Tensor]:
    named = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def _bytes(value: Any) -> int:
    return sum(tensor.nbytes for tensor in _tensors(value).values())
