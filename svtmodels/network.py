"""The base of all networks: how one is called, and what it declares."""

from __future__ import annotations

import abc
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ..spaces.candidate import Candidate
from ..spaces.errors import BadInput
from ..spaces.site import UNTOUCHED_BITS, Site, SiteKind
from ..spaces.space import DEFAULT_LEVELS, Granularity, Space
from .declaration import Declaration, Source, Synapse
from .parts.synapse import CompositeSynapse
from .parts.tokens import TokenSelector

TIME_SITE = "steps"
"""Name of the one time site."""

IMAGE_GRID = 512
"""Steps per unit that a quantised first synapse rounds a normalised image to. One step of an
8-bit pixel is at least 1/255 / 0.27, that is 7 grid steps: nothing that the image held is lost."""
IMAGE_LIMIT = 8 * IMAGE_GRID
"""Largest magnitude of a rounded image: 8 standard deviations."""
EVENT_LIMIT = 2**12
"""Largest count of events in one pixel of a frame that a quantised first synapse sums exactly."""
CURRENT_GRID = 256
"""Steps per unit that a quantised synapse rounds the currents of a membrane or a synapse to."""
CURRENT_LIMIT = 64 * CURRENT_GRID
"""Largest magnitude of a rounded current. 8-bit weights of 1,024 inputs then sum up in int32."""


class Network(nn.Module, abc.ABC):
    """A spiking vision transformer.

    A call starts from the resting state and leaves none behind. `network(x)` gives logits [B, K]
    for images [B, C, H, W] (event data: [B, T, C, H, W]); `per_step` gives [B, T, K].

    Attributes:
        architecture: official name, as `build_official` takes it.
        arguments: official constructor arguments.
        time_steps: T as it runs now.
        trained_steps: T of the trained network.
        widths: kept channels of the groups that are not full.
        kept_tokens: kept tokens of the blocks that are not full.
        kept_channels: indices into the parent's channels, for each group in `widths`.
        candidate: what was done to the trained network.
        card: what its checkpoint says of its training and preprocessing.
    """

    def __init__(
        self,
        architecture: str,
        arguments: Mapping[str, Any],
        time_steps: int,
        *,
        widths: Mapping[str, int] | None = None,
        kept_tokens: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.arguments = dict(arguments)
        self.time_steps = time_steps
        self.trained_steps = time_steps
        self.widths = dict(widths or {})
        self.kept_tokens = dict(kept_tokens or {})
        self.kept_channels: dict[str, Tensor] = {}
        self.candidate = Candidate()
        self.card: dict[str, Any] = {}

    @functools.cached_property
    def declaration(self) -> Declaration:
        """Sites and costs of the full (trained) network, whatever this one's widths are."""
        return self._declare()

    @abc.abstractmethod
    def _declare(self) -> Declaration:
        """Make the declaration; called once."""

    @property
    @abc.abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input without the batch: [C, H, W] or [T, C, H, W]."""

    @property
    @abc.abstractmethod
    def classes(self) -> int:
        """Number of classes."""

    @property
    @abc.abstractmethod
    def largest_spike(self) -> int:
        """Largest integer that a synapse can receive from the residual stream."""

    @property
    def batch_independent(self) -> bool:
        """Whether the logits of an image depend on nothing else in its batch."""
        return True

    @abc.abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Features [T, B, D] before the classifier, averaged over tokens."""

    @property
    @abc.abstractmethod
    def classifier(self) -> nn.Module:
        """Maps [..., D] to [..., K]."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, K] of images [B, C, H, W]."""
        return self.classifier(self.features(x).mean(0))

    def per_step(self, x: Tensor) -> Tensor:
        """Logits of every step, [B, T, K]."""
        return self.classifier(self.features(x)).transpose(0, 1)

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        # A quantised network has buffers only.
        return next(chain(self.parameters(), self.buffers())).device

    @property
    def sites(self) -> tuple[Site, ...]:
        """All sites, in the order in which signals pass."""
        declared = self.declaration
        channels = (
            Site(g.name, SiteKind.CHANNEL, g.size, g.stage, g.block, g.unit)
            for g in declared.channels
        )
        tokens = (Site(t.name, SiteKind.TOKEN, t.tokens, t.stage, t.name) for t in declared.tokens)
        weights = (
            Site(s.name, SiteKind.WEIGHT, UNTOUCHED_BITS, s.stage, s.block)
            for s in declared.synapses
        )
        time = Site(TIME_SITE, SiteKind.TIME, self.trained_steps, "all", "all")
        return (*channels, *tokens, *weights, time)

    def space(
        self,
        granularity: Granularity | str = Granularity.LAYER,
        axes: Iterable[SiteKind | str] | Mapping[SiteKind, Sequence[float]] | None = None,
    ) -> Space:
        """Space of this network.

        Args:
            granularity: network, stage, block or layer.
            axes: the kinds to search with their default levels, or a mapping of kinds to levels;
                None: `DEFAULT_KINDS`.
        """
        return Space.build(self.sites, granularity, _levels(axes))

    def input_grid(self, source: Source) -> tuple[int, int]:
        """Grid steps per unit and largest magnitude (in steps) of what enters a synapse."""
        match source:
            case Source.IMAGE:
                return IMAGE_GRID, IMAGE_LIMIT
            case Source.POOLED:
                positions = self.declaration.tokens[-1].tokens * self.time_steps
                return positions, positions * self.largest_spike
            case Source.EVENTS:
                return 1, EVENT_LIMIT
            case Source.CURRENTS:
                return CURRENT_GRID, CURRENT_LIMIT
            case _:
                return 1, self.largest_spike

    def stored(self) -> Iterator[tuple[Synapse, nn.Module]]:
        """Synapses that hold a weight as the network is now, and the modules that hold it.

        A chain (`CompositeSynapse`) gives its links, until it is merged.
        """
        for synapse in self.declaration.synapses:
            module = self.get_submodule(synapse.weight)
            if isinstance(module, CompositeSynapse):
                yield from ((link, self.get_submodule(link.weight)) for link in synapse.links)
            else:
                yield synapse, module

    def width(self, group: str, full: int) -> int:
        """Channels that a group is built with; `full` where it was not made smaller."""
        return self.widths.get(group, full)

    def selector(self, site: str, grid: tuple[int, int]) -> TokenSelector | None:
        """What chooses the tokens of a block; None where all of them pass."""
        kept = self.kept_tokens.get(site)
        return None if kept is None else TokenSelector(kept, grid)

    def check_input(self, x: Tensor) -> None:
        """Refuse a batch of the wrong shape; event data may have any number of frames.

        Raises:
            BadInput: says what was got and what is expected.
        """
        expected = self.input_shape
        if x.dim() == len(expected) + 1 and tuple(x.shape[-3:]) == expected[-3:]:
            return
        sizes = ", ".join(map(str, expected))
        raise BadInput(f"input of shape {tuple(x.shape)}; expected [B, {sizes}].")


def check_finite(network: nn.Module) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        BadInput: lists the tensors.
    """
    bad = [
        name
        for name, tensor in network.state_dict().items()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all()
    ]
    if bad:
        raise BadInput(f"weights with NaN or infinite values: {', '.join(bad)}.")


def _levels(
    axes: Iterable[SiteKind | str] | Mapping[SiteKind, Sequence[float]] | None,
) -> Mapping[SiteKind, Sequence[float]] | None:
    if axes is None:
        return None
    allowed = {kind.value for kind in SiteKind}
    for axis in axes:
        if axis not in allowed:
            raise BadInput(f"unknown axis {axis!r}; allowed: {', '.join(sorted(allowed))}.")
    if isinstance(axes, Mapping):
        return {SiteKind(kind): levels for kind, levels in axes.items()}
    return {SiteKind(kind): DEFAULT_LEVELS[SiteKind(kind)] for kind in axes}
