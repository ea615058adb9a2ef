"""Recovery takes up where a network with the same first sections left.

What recovery does to a section, and what then leaves it, follow from what lies before and in it.
So both are kept behind a boundary that several candidates have in common before they recover.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..engine.boundaries import Boundary, boundaries, digests
from ..engine.prefix_cache import PrefixCache
from ..network import Network
from ..parts.tokens import Survivors


class Correction(Protocol):
    """A change that recovery makes to a network."""

    def apply(self, network: Network) -> None:
        """Make it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Recovered:
    """A network that has recovered up to a boundary.

    Attributes:
        corrections: that were made to it.
        shapes: of what the modules before the boundary gave, by path.
        stream: what the last one of them gave; whole numbers up to 255 as bytes.
        tokens: that are still in, where they leave for good.
        nbytes: memory that it takes.
    """

    corrections: tuple[Correction, ...]
    shapes: Mapping[str, tuple[int, ...]]
    stream: Tensor
    tokens: Tensor | None

    @property
    def nbytes(self) -> int:
        return self.stream.nbytes + (0 if self.tokens is None else self.tokens.nbytes)


@contextmanager
def taken_up(
    network: Network, cache: PrefixCache, purpose: str, made: list[Correction]
) -> Iterator[Collection[nn.Module]]:
    """Lets the next pass of a network begin behind a boundary where that is known.

    Gives the modules that compute nothing in it, besides those that it does not call.

    Args:
        network: before recovery.
        cache: of one trained network and one batch of images, in eval mode.
        purpose: name of all that decides over corrections besides the network.
        made: corrections of the pass, in order; those that are known are made and put there.
    """
    chain, along = digests(network, f"recovery {purpose}"), boundaries(network)
    last = cache.shared(chain)
    if last is None:
        yield ()
        return
    keys = [("recovered", digest) for digest in chain]
    start, known = -1, None
    for index in range(last, -1, -1):
        known = cache.get(keys[index], _Recovered)
        if known is not None:
            start = index
            break
    passed_by: Collection[nn.Module] = ()
    with ExitStack() as stack:
        shapes: dict[str, tuple[int, ...]] = {}
        if known is not None:
            made += known.corrections
            shapes |= known.shapes
            for correction in known.corrections:
                correction.apply(network)
            passed_by = stack.enter_context(_passed_by(network, along[: start + 1], known))
        if start < last:

            def keep(stream: Tensor, tokens: Tensor | None) -> None:
                value = _Recovered(tuple(made), dict(shapes), _packed(stream), tokens)
                cache.reserve(keys[last], value, value.nbytes)

            stack.enter_context(_noted(network, along[start + 1 : last + 1], shapes, keep))
        yield passed_by


@contextmanager
def _passed_by(
    network: Network, passed: Sequence[Boundary], known: _Recovered
) -> Iterator[Collection[nn.Module]]:
    """Modules before a boundary give what is known of them, and compute nothing."""
    stream = known.stream.to(torch.float32)
    end = passed[-1][-1]
    nothing = torch.zeros(1)

    def stand_in(path: str) -> Callable[..., Tensor]:
        def forward(*inputs: Any) -> Tensor:
            if path != end:
                # Nobody reads it: only its shape passes on.
                return nothing.expand(known.shapes[path])
            survivors = _survivors(inputs)
            if survivors is not None:
                survivors.kept = known.tokens
            return stream

        return forward

    modules = [(path, network.get_submodule(path)) for parts in passed for path in parts]
    for path, module in modules:
        module.forward = stand_in(path)
    try:
        yield {module for _, module in modules}
    finally:
        for _, module in modules:
            del module.forward


@contextmanager
def _noted(
    network: Network,
    running: Sequence[Boundary],
    shapes: dict[str, tuple[int, ...]],
    keep: Callable[[Tensor, Tensor | None], None],
) -> Iterator[None]:
    """Notes the shapes that modules give, and keeps what the last one of them gives."""
    end = running[-1][-1]

    def note(path: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        def see(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            shapes[path] = tuple(output.shape)
            if path == end:
                survivors = _survivors(inputs)
                keep(output, None if survivors is None else survivors.kept)

        return see

    handles = [
        network.get_submodule(path).register_forward_hook(note(path))
        for parts in running
        for path in parts
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _survivors(inputs: Sequence[Any]) -> Survivors | None:
    return next((each for each in inputs if isinstance(each, Survivors)), None)


def _packed(stream: Tensor) -> Tensor:
    """The same numbers in as few bytes as hold them exactly."""
    codes = stream.to(torch.uint8)
    return codes if torch.equal(codes.to(stream.dtype), stream) else stream.clone()
