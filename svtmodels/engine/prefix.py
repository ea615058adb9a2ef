"""Prefix reuse: what stands behind sections that candidates have in common is computed once.

A program gives the same bits for an image whatever else is in its batch, so activations are kept
image by image: spikes as bits, sums of them as bytes, membranes as floats. Candidates whose
sections before a boundary are the same, bit for bit (`digests`), take them up from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .boundaries import digests
from .prefix_cache import PrefixCache
from .program import Passed, Program


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Which images a batch holds.

    Attributes:
        of: name of a set of images that stays what it is; no two sets have one name.
        rows: index [B] of each image in it; none comes twice.
    """

    of: str
    rows: NDArray[np.int64]

    def take(self, positions: Sequence[int]) -> Images:
        """Images at some positions of the batch."""
        return replace(self, rows=self.rows[list(positions)])


class Notes(Protocol):
    """Whoever watches currents, and must be told what it would have seen.

    Each batch that it watches is a set of images of its own, which passes whole.
    """

    def noted(self) -> Any:
        """What it noted of this batch so far; nobody changes it."""
        ...

    def replay(self, noted: Any) -> None:
        """Note what was noted of this batch before."""
        ...


class PrefixRun:
    """Runs a program from where what it needs is kept.

    Args:
        program: of a network that does not mix the images of a batch.
        cache: of one set of images and one watcher; shared by all programs run on them.

    What it asks for and what it runs is added up in `PrefixCache.work`.
    """

    def __init__(self, program: Program, cache: PrefixCache) -> None:
        self._program = program
        self._cache = cache
        self._chain: tuple[bytes, ...] = ()
        self._boundary: int | None = None
        if program.network.batch_independent:
            self._chain = digests(program.network)
            self._boundary = cache.shared(self._chain)

    @torch.inference_mode()
    def __call__(self, x: Tensor, images: Images, notes: Notes | None = None) -> Tensor:
        """Logits [B, K], as the program gives them.

        Args:
            x: network input.
            images: that it is.
            notes: of who watches the program; nothing is reused where somebody else does.
        """
        boundary, sections, work = self._boundary, len(self._program.sections), self._cache.work
        work.asked += (1 + sections) * len(x)
        if boundary is None or self._program.is_watched != (notes is not None):
            work.run += (1 + sections) * len(x)
            return self._program(x)
        passed = self._at(boundary, x, images, notes)
        work.run += (sections - boundary) * len(x)
        return self._program.finished(passed, boundary)

    def _at(self, boundary: int, x: Tensor, images: Images, notes: Notes | None) -> Passed:
        """The batch behind a boundary; what is not kept there yet is computed, and kept."""
        key = self._key(boundary, images)
        kept = self._cache.get(key, _Kept) or _Kept()
        missing = kept.missing(images.rows)
        if not missing:
            return kept.batch(images.rows, notes)
        everything = len(missing) == len(x)
        part = x if everything else x[missing]
        made = self._made(boundary, part, images.take(missing), notes)
        noted = None if notes is None else notes.noted()
        piece = _Piece.of(made, noted)
        if self._cache.reserve(key, kept, piece.nbytes):
            kept.add(images.rows[missing], piece)
        if everything:
            return made
        return kept.batch(images.rows, notes, (missing, piece))

    def _made(self, boundary: int, x: Tensor, images: Images, notes: Notes | None) -> Passed:
        """The batch behind a boundary, from the last one before it that holds all of it."""
        for start in range(boundary - 1, -1, -1):
            kept = self._cache.get(self._key(start, images), _Kept)
            if kept is not None and not kept.missing(images.rows):
                passed = kept.batch(images.rows, notes)
                self._cache.work.run += (boundary - start) * len(x)
                return self._program.advanced(passed, start, boundary)
        self._cache.work.run += (boundary + 1) * len(x)
        return self._program.entered(x, boundary)

    def _key(self, boundary: int, images: Images) -> tuple[bytes, str, bool]:
        return self._chain[boundary], images.of, self._program.counts_plain_parts


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """A batch behind a boundary, in memory of its own.

    Attributes:
        passed: what holds for any part of it, without the tensors.
        tensors: rows, counts [B, names] and, if there are any, kept tokens, all [B, ...].
        noted: what was noted up to here.
    """

    passed: Passed
    tensors: tuple[Tensor, ...]
    noted: Any = None

    @classmethod
    def of(cls, passed: Passed, noted: Any) -> _Piece:
        counts = list(passed.counted.values())
        images = passed.rows.images
        counted = torch.stack(counts, 1) if counts else torch.zeros(images, 0, dtype=torch.int64)
        tensors = [passed.rows.data.clone(), counted]
        if passed.kept is not None:
            tensors.append(_images_first(passed.kept).clone())
        # A program's memory must not stay for what is kept of it.
        empty = torch.empty(0)
        rows = replace(passed.rows, data=empty)
        bare = Passed(rows, None, dict.fromkeys(passed.counted, empty))
        return cls(bare, tuple(tensors), noted)

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)

    def passed_with(self, tensors: Sequence[Tensor]) -> Passed:
        """A batch of which these are the tensors."""
        data, counted, *kept = tensors
        names = self.passed.counted
        return Passed(
            replace(self.passed.rows, data=data),
            _images_first(kept[0]) if kept else None,
            dict(zip(names, counted.unbind(1), strict=True)),
        )


class _Kept:
    """Images of one set behind one boundary."""

    def __init__(self) -> None:
        self.nbytes = 0
        self._pieces: list[_Piece] = []
        self._places: dict[int, tuple[int, int]] = {}

    def missing(self, rows: NDArray[np.int64]) -> list[int]:
        """Positions of the images that are not kept."""
        return [at for at, row in enumerate(rows.tolist()) if row not in self._places]

    def add(self, rows: NDArray[np.int64], piece: _Piece) -> None:
        """Keep some more."""
        number = len(self._pieces)
        self._pieces.append(piece)
        self._places |= {row: (number, at) for at, row in enumerate(rows.tolist())}
        self.nbytes += piece.nbytes

    def batch(
        self,
        rows: NDArray[np.int64],
        notes: Notes | None,
        made: tuple[list[int], _Piece] | None = None,
    ) -> Passed:
        """The images of a batch.

        Args:
            rows: indices of the images.
            notes: who is told what was noted of them.
            made: positions of those that are not kept, and the images themselves.
        """
        parts: dict[int, tuple[list[int], list[int]]] = {}
        apart = set() if made is None else set(made[0])
        for at, row in enumerate(rows.tolist()):
            if at not in apart:
                number, place = self._places[row]
                ats, places = parts.setdefault(number, ([], []))
                ats.append(at)
                places.append(place)
        sources = [(ats, self._pieces[n], places) for n, (ats, places) in parts.items()]
        if made is not None:
            sources.append((made[0], made[1], list(range(len(made[0])))))
        if notes is not None:
            ((_, piece, _),) = sources
            notes.replay(piece.noted)
        return _joined(sources, len(rows))


def _joined(sources: Sequence[tuple[list[int], _Piece, list[int]]], images: int) -> Passed:
    """A batch, of which each source gives some positions out of some of its own."""
    piece = sources[0][1]
    tensors = [torch.empty(images, *t.shape[1:], dtype=t.dtype) for t in piece.tensors]
    for positions, source, places in sources:
        at, of = torch.tensor(positions), torch.tensor(places)
        for whole, part in zip(tensors, source.tensors, strict=True):
            whole[at] = part[of]
    return piece.passed_with(tensors)


def _images_first(kept: Tensor) -> Tensor:
    """Tokens [B, ...] of [T, B, k], and the other way round; [B, k] stays what it is."""
    return kept.transpose(0, 1) if kept.dim() == 3 else kept
