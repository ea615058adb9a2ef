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
from ..spaces.site import FULL_DENSITY, UNTOUCHED_BITS, Site, SiteKind
from ..spaces.space import DEFAULT_LEVELS, Granularity, Space
from ..spaces.surgery import DEFAULT
from .build import OFFICIAL, Build
from .declaration import Declaration, Source, Synapse
from .parts.neuron import LIF
from .parts.parametric_neuron import ParametricLIF
from .parts.synapse import CompositeSynapse, window_of
from .parts.token_rule import SMALL_WINDOW
from .parts.tokens import Survivors, TokenSelector

TIME_SITE = "steps"
"""Name of the one time site."""

RECOVERY_SITE = "network"
"""Name of the one recovery site."""

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
        token_rule: how these blocks choose them.
        kept_channels: indices into the parent's channels, for each group in `widths`.
        kept_numbers: how many numbers of each pruned synapse's weight are not zero, or would
            not be if rounding had not made them so.
        candidate: what was done to the trained network.
        arithmetic: of its neurons and quantised synapses; of `ALLOWED["arithmetic"]`.
        vectors: what scales and biases of its quantised synapses are stored as; of
            `ALLOWED["vectors"]`.
        card: what its checkpoint says of its training and preprocessing.
    """

    def __init__(
        self,
        architecture: str,
        arguments: Mapping[str, Any],
        time_steps: int,
        build: Build = OFFICIAL,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.arguments = dict(arguments)
        self.time_steps = time_steps
        self.trained_steps = time_steps
        self.widths = dict(build.widths)
        self.kept_tokens = dict(build.kept_tokens)
        self.token_rule = build.token_rule
        self.kept_channels: dict[str, Tensor] = {}
        self.kept_numbers: dict[str, int] = {}
        self.candidate = Candidate()
        self.arithmetic = DEFAULT.arithmetic
        self.vectors = DEFAULT.vectors
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
    def token_window(self) -> int:
        """Side of the window in which the official token pruning of its family looks."""
        return SMALL_WINDOW

    @property
    def batch_independent(self) -> bool:
        """Whether the logits of an image depend on nothing else in its batch."""
        return True

    @abc.abstractmethod
    def stream(self, x: Tensor) -> Tensor:
        """Residual stream behind the last block: maps [T, B, H, W, C] or tokens [T, B, N, C]."""

    @abc.abstractmethod
    def pooled(self, stream: Tensor) -> Tensor:
        """Features [T, B, D] before the classifier, of the stream behind the last block."""

    def features(self, x: Tensor) -> Tensor:
        """Features [T, B, D] before the classifier, averaged over tokens."""
        self.check_input(x)
        return self.pooled(self.stream(x))

    def logits(self, features: Tensor) -> Tensor:
        """Logits [B, K] of features [T, B, D]."""
        return self.classifier(features.mean(0))

    @property
    @abc.abstractmethod
    def classifier(self) -> nn.Module:
        """Maps [..., D] to [..., K]."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, K] of images [B, C, H, W]."""
        return self.logits(self.features(x))

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
        states = (
            Site(n.name, SiteKind.STATE, UNTOUCHED_BITS, n.stage, n.block)
            for n in declared.neurons
            if isinstance(self.get_submodule(n.name), LIF | ParametricLIF)
        )
        densities = (
            Site(s.name, SiteKind.DENSITY, FULL_DENSITY, s.stage, s.block)
            for s in declared.synapses
            if window_of(self.get_submodule(s.weight))["groups"] == 1
        )
        residuals = (
            Site(g.name, SiteKind.RESIDUAL, g.size, g.stage, g.block) for g in declared.residuals
        )
        time = Site(TIME_SITE, SiteKind.TIME, self.trained_steps, "all", "all")
        recovery = Site(RECOVERY_SITE, SiteKind.RECOVERY, 1, "all", "all")
        widths = (*channels, *residuals)
        return (*widths, *tokens, *weights, *states, *densities, time, recovery)

    def space(
        self,
        granularity: Granularity | str = Granularity.LAYER,
        axes: Iterable[SiteKind | str] | Mapping[SiteKind, Sequence[float]] | None = None,
        *,
        minimum_width: int = 1,
        width_multiple: int = 1,
    ) -> Space:
        """Space of this network.

        Args:
            granularity: network, stage, block or layer.
            axes: the kinds to search with their default levels, or a mapping of kinds to levels;
                None: `DEFAULT_KINDS`.
            minimum_width: channels that a group keeps at least, where it does not stay whole.
            width_multiple: widths below the full one are multiples of it.
        """
        return Space.build(
            self.sites,
            granularity,
            _levels(axes),
            minimum_width=minimum_width,
            width_multiple=width_multiple,
        )

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

    def weight_bits(self, synapse: str) -> int:
        """Bit-width that was chosen for a synapse's weight; 32 where it is untouched."""
        return self.candidate.to_dict().get(SiteKind.WEIGHT, {}).get(synapse, UNTOUCHED_BITS)

    def width(self, group: str, full: int) -> int:
        """Channels that a group is built with; `full` where it was not made smaller."""
        return self.widths.get(group, full)

    def selector(self, site: str, grid: tuple[int, int]) -> TokenSelector | None:
        """What chooses the tokens of a block; None where all of them pass.

        Raises:
            BadInput: each step has a mask, and the network mixes the images of a batch.
        """
        allowed = self.token_rule.allowed(site, self.kept_tokens)
        if allowed is None:
            return None
        if self.token_rule.masks == "step" and not self.batch_independent:
            raise BadInput(
                "token masks by step need neurons that run over the steps of an image; "
                'build the network with proj_lif_over="T", or give surgery.token_masks: image.'
            )
        return TokenSelector(allowed, grid, self.token_rule, site)

    @property
    def processed_tokens(self) -> dict[str, int]:
        """Tokens that the blocks process that do not process all."""
        rule, sites = self.token_rule, [site.name for site in self.declaration.tokens]
        allowed = {name: rule.allowed(name, self.kept_tokens) for name in sites}
        return {name: count for name, count in allowed.items() if count is not None}

    def run_blocks(self, blocks: Iterable[nn.Module], x: Tensor) -> Tensor:
        """Residual stream behind a sequence of token blocks on one grid."""
        survivors = Survivors()
        for block in blocks:
            x = block(x, survivors)
        return x

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
