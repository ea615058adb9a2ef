"""Static costs of very many points of a space at once, by tables over the few axes of each part.

Bytes and MACs are sums over synapses (and attentions), each of which depends on the widths at its
two ends, its own bits and density, its tokens and the steps: a handful of axes. So every part is
a table over the levels of these, filled in once by the very functions that count one candidate.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..spaces.axis import Axis
from ..spaces.site import Site, SiteKind
from ..spaces.space import Space
from ..spaces.surgery import SurgeryOptions
from .costs import Count
from .declaration import AttentionProduct, Declaration, Source, Synapse, TokenSite
from .network import TIME_SITE, Network
from .parts.token_rule import TokenRule
from .surgery.compress import chosen_by_kind
from .surgery.density import kept_count

_FULL = 100


@dataclass(frozen=True, eq=False)
class CostTerm:
    """One summand of a cost.

    Attributes:
        name: of the synapse, attention or token site that it belongs to.
        axes: numbers of the space's axes that it depends on, ascending.
        values: float64, one dimension per axis, one entry per level.
        spikes: whether what enters are spikes, so that only those that fire cost anything.
    """

    name: str
    axes: tuple[int, ...]
    values: NDArray[np.float64]
    spikes: bool = False

    def at(self, points: NDArray[np.int64]) -> NDArray[np.float64]:
        """Value [N] at points [N, A]."""
        return self.values[tuple(points[:, axis] for axis in self.axes)]


@dataclass(frozen=True, eq=False)
class CostTables:
    """Costs of all points of a space.

    Attributes:
        bytes: terms whose sum is `Costs.bytes`; exact but for densities that share one threshold.
        macs: terms whose sum is `Costs.macs`.
    """

    bytes: tuple[CostTerm, ...]
    macs: tuple[CostTerm, ...]

    @classmethod
    def build(cls, network: Network, space: Space, options: SurgeryOptions) -> CostTables:
        """Tables of a space of a trained network.

        Args:
            network: the trained one.
            space: of this network.
            options: of surgery; they say how tokens are chosen and scored, and what vectors are
                stored as.
        """
        return _Tables(network, space, options).build()


def total(terms: Sequence[CostTerm], points: ArrayLike) -> NDArray[np.float64]:
    """Sum of terms, [N], at points [N, A] of level numbers."""
    rows = np.asarray(points, dtype=np.int64)
    summed = np.zeros(len(rows))
    for term in terms:
        summed += term.at(rows)
    return summed


class _Tables:
    def __init__(self, network: Network, space: Space, options: SurgeryOptions) -> None:
        self._network = network
        self._axes = space.axes
        self._rule = TokenRule.of(options, network.token_window)
        self._vectors = options.vectors
        self._declared = network.declaration
        self._numbers = {
            site.key: number for number, axis in enumerate(space.axes) for site in axis.sites
        }

    def build(self) -> CostTables:
        nothing = self._count({}, replace(self._declared, synapses=()))
        sizes = [self._bytes(synapse) for synapse in self._declared.synapses]
        sizes += [self._scale(place) for place in range(len(self._declared.scales))]
        sizes.append(CostTerm("neurons", (), np.array(float(nothing.neuron_bytes()))))
        macs = [self._macs(synapse) for synapse in self._declared.synapses]
        macs += [self._attention(product) for product in self._declared.attentions]
        macs += [self._scores(site) for site in self._declared.tokens]
        return CostTables(tuple(sizes), tuple(macs))

    def _bytes(self, synapse: Synapse) -> CostTerm:
        declared = self._around(synapse)
        sites = [(group_kind, name) for group_kind, name in self._groups(declared)]
        sites += [(SiteKind.WEIGHT, synapse.name), (SiteKind.DENSITY, synapse.name)]
        return self._term(synapse.name, sites, declared, lambda c: c.stored(synapse)[0])

    def _macs(self, synapse: Synapse) -> CostTerm:
        declared = self._around(synapse)
        sites = [*self._groups(declared), (SiteKind.TIME, TIME_SITE)]
        sites += self._tokens(synapse.tokens)
        spikes = synapse.source in (Source.SPIKES, Source.EVENTS)
        return self._term(synapse.name, sites, declared, lambda c: c.macs(synapse), spikes=spikes)

    def _scale(self, place: int) -> CostTerm:
        scale = self._declared.scales[place]
        declared = replace(
            Declaration(),
            scales=(scale,),
            channels=self._declared.channels,
            residuals=self._declared.residuals,
        )
        sites = [(kind, scale.channels) for kind in (SiteKind.CHANNEL, SiteKind.RESIDUAL)]
        return self._term(scale.path, sites, declared, lambda c: c.scale_bytes())

    def _attention(self, product: AttentionProduct) -> CostTerm:
        declared = replace(Declaration(), attentions=(product,), channels=self._declared.channels)
        sites = [(SiteKind.CHANNEL, name) for name in (product.qk, product.v)]
        sites += [*self._tokens(product.site), (SiteKind.TIME, TIME_SITE)]
        return self._term(product.name, sites, declared, lambda c: c.attention_macs(), spikes=True)

    def _scores(self, site: TokenSite) -> CostTerm:
        declared = replace(Declaration(), tokens=(site,))
        sites = [*self._tokens(site.name), (SiteKind.RESIDUAL, site.stream.name)]
        sites.append((SiteKind.TIME, TIME_SITE))
        return self._term(site.name, sites, declared, lambda c: c.score_macs())

    def _around(self, synapse: Synapse) -> Declaration:
        """The synapse with the groups at its ends and inside it."""
        names = {synapse.name, *(link.name for link in synapse.links)}

        def touches(producers: Iterable[str], *others: Iterable[str]) -> bool:
            return any(name in names for part in (producers, *others) for name in part)

        channels, residuals = (
            tuple(g for g in groups if touches(g.producers, g.consumers, g.carriers))
            for groups in (self._declared.channels, self._declared.residuals)
        )
        return replace(Declaration(), synapses=(synapse,), channels=channels, residuals=residuals)

    def _groups(self, declared: Declaration) -> list[tuple[SiteKind, str]]:
        inner = [(SiteKind.CHANNEL, group.name) for group in declared.channels]
        return inner + [(SiteKind.RESIDUAL, group.name) for group in declared.residuals]

    def _tokens(self, site: str | None) -> list[tuple[SiteKind, str]]:
        """Token sites that decide how many tokens pass at one: with `stop` those before it too."""
        if site is None:
            return []
        if self._rule.mode == "revisit":
            return [(SiteKind.TOKEN, site)]
        return [(SiteKind.TOKEN, other.name) for other in self._declared.tokens]

    def _term(
        self,
        name: str,
        sites: Sequence[tuple[SiteKind, str]],
        declared: Declaration,
        cost: Callable[[Count], float],
        *,
        spikes: bool = False,
    ) -> CostTerm:
        keys = {(kind.value, site) for kind, site in sites}
        axes = sorted({self._numbers[key] for key in keys if key in self._numbers})
        shape = [len(self._axes[axis].levels) for axis in axes]
        values = np.empty(shape)
        for levels in itertools.product(*map(range, shape)):
            chosen = self._chosen(axes, levels, keys)
            values[levels] = cost(self._count(chosen, declared))
        return CostTerm(name, tuple(axes), values, spikes)

    def _chosen(
        self, axes: Sequence[int], levels: Sequence[int], keys: set[tuple[str, str]]
    ) -> dict[Site, int]:
        values: dict[Site, int] = {}
        for axis, level in zip(axes, levels, strict=True):
            values |= _assigned(self._axes[axis], level, keys)
        return values

    def _count(self, values: Mapping[Site, int], declared: Declaration) -> Count:
        chosen = chosen_by_kind(values)
        count = Count(self._network, chosen, {}, self._rule, declared, self._vectors)
        kept = {
            synapse.name: kept_count(count.weights(synapse), percent)
            for synapse in declared.synapses
            if (percent := chosen[SiteKind.DENSITY].get(synapse.name, _FULL)) != _FULL
        }
        if not kept:
            return count
        return Count(self._network, chosen, kept, self._rule, declared, self._vectors)


def _assigned(axis: Axis, level: int, keys: set[tuple[str, str]]) -> dict[Site, int]:
    assigned = axis.assign(level)
    return {site: value for site, value in assigned.items() if site.key in keys}
