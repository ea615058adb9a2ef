"""What a candidate costs, before anything is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..spaces.candidate import Candidate
from ..spaces.site import UNTOUCHED_BITS, SiteKind
from .declaration import Source, Synapse
from .network import TIME_SITE, Network
from .packed.layout import code_bytes, float_bytes, neuron_bytes
from .parts.synapse import shape_of
from .parts.tokens import score_macs
from .surgery.compress import check_candidate, chosen_by_kind


@dataclass(frozen=True, slots=True)
class Costs:
    """Static costs of a network.

    Attributes:
        bytes: of all tensors in the packed file.
        parameters: stored numbers: weights, scales, biases.
        macs: multiply-accumulates per image if every input were dense; token scores included.
        first_macs: those of `macs` on images (once, not T times); event counts cost SynOps.
        score_macs: those of `macs` spent on choosing tokens.
        head_macs: those of `macs` on pooled features; a classifier that sees spikes costs SynOps.
        current_macs: those of `macs` on real values between two synapses without a neuron.
    """

    bytes: int
    parameters: int
    macs: int
    first_macs: int
    score_macs: int
    head_macs: int
    current_macs: int = 0


def static_costs(network: Network, candidate: Candidate) -> Costs:
    """Costs of `compress(network, candidate)`.

    Args:
        network: the trained network.
        candidate: of one of its spaces.

    Raises:
        BadInput: the candidate does not fit the network.
    """
    chosen = chosen_by_kind(check_candidate(network, candidate))
    return _Count(network, chosen).costs()


def parent_bytes(network: Network) -> int:
    """Bytes of the trained network's float32 parameters after folding every batch norm.

    The reference of `bytes_ratio`; parameters that never act are not counted.
    """
    count = _Count(network, {kind: {} for kind in SiteKind})
    return 4 * sum(count.folded(synapse) for synapse in network.declaration.stored)


class _Count:
    """Counts the costs of one choice per site."""

    def __init__(self, network: Network, chosen: Mapping[SiteKind, Mapping[str, int]]) -> None:
        self._network = network
        self._declared = network.declaration
        self._chosen = chosen
        self._steps = chosen[SiteKind.TIME].get(TIME_SITE, network.time_steps)
        widths = chosen[SiteKind.CHANNEL]
        self._rows, self._columns = self._declared.rows_and_columns(widths)

    @property
    def synapses(self) -> tuple[Synapse, ...]:
        return self._declared.synapses

    def costs(self) -> Costs:
        sizes = [self._stored(synapse) for synapse in self.synapses]
        sizes += [(float_bytes(count), count) for count in self._scales()]
        macs = {synapse.name: self._macs(synapse) for synapse in self.synapses}
        scores = self._score_macs()
        return Costs(
            bytes=sum(size for size, _ in sizes) + neuron_bytes(len(self._declared.neurons)),
            parameters=sum(numbers for _, numbers in sizes),
            macs=sum(macs.values()) + self._attention_macs() + scores,
            first_macs=sum(macs[s.name] for s in self.synapses if s.source is Source.IMAGE),
            score_macs=scores,
            head_macs=sum(macs[s.name] for s in self.synapses if s.source is Source.POOLED),
            current_macs=sum(macs[s.name] for s in self.synapses if s.source is Source.CURRENTS),
        )

    def shape(self, synapse: Synapse) -> tuple[int, int, int]:
        """Output channels, input channels, kernel area."""
        outputs, inputs, *kernel = shape_of(self._network.get_submodule(synapse.weight))
        rows = self._rows.get(synapse.name, outputs)
        return rows, self._columns.get(synapse.name, inputs), math.prod(kernel)

    def weights(self, synapse: Synapse) -> int:
        return math.prod(self.shape(synapse))

    def _stored(self, synapse: Synapse) -> tuple[int, int]:
        """Bytes and numbers that the packed file holds for a synapse."""
        bits = self._chosen[SiteKind.WEIGHT].get(synapse.name, UNTOUCHED_BITS)
        weights, outputs = self.weights(synapse), self.shape(synapse)[0]
        if bits != UNTOUCHED_BITS:
            size = code_bytes(weights, bits) + float_bytes(2 * outputs)
            return size, weights + 2 * outputs
        counts = self._float_tensors(synapse)
        return sum(map(float_bytes, counts)), sum(counts)

    def _float_tensors(self, synapse: Synapse) -> list[int]:
        """Numbers in each tensor of an untouched synapse: weights, then all vectors together."""
        vectors = 2 * int(synapse.norm is not None)
        if synapse.links:
            counts = [n for link in synapse.links for n in self._float_tensors(link)]
        else:
            counts = [self.weights(synapse)]
            vectors += int(self._has_bias(synapse))
        return [*counts, vectors * self.shape(synapse)[0]] if vectors else counts

    def folded(self, synapse: Synapse) -> int:
        """Numbers of a synapse that holds a weight, once its batch norm is folded into it."""
        has_bias = self._has_bias(synapse) or synapse.norm is not None
        return self.weights(synapse) + int(has_bias) * self.shape(synapse)[0]

    def _has_bias(self, synapse: Synapse) -> bool:
        return self._network.get_submodule(synapse.weight).bias is not None

    def _scales(self) -> list[int]:
        return [self._network.get_parameter(path).numel() for path in self._declared.scales]

    def _macs(self, synapse: Synapse) -> int:
        positions = self._chosen[SiteKind.TOKEN].get(synapse.tokens or "", synapse.positions)
        once = synapse.source in (Source.IMAGE, Source.POOLED)
        return self.weights(synapse) * positions * (1 if once else self._steps)

    def _attention_macs(self) -> int:
        widths = {g.name: g.size for g in self._declared.channels}
        widths |= self._chosen[SiteKind.CHANNEL]
        total = 0
        for product in self._declared.attentions:
            tokens = self._chosen[SiteKind.TOKEN].get(product.site or "", product.tokens)
            macs = product.macs(tokens, widths[product.qk], widths[product.v])
            total += macs * self._steps
        return total

    def _score_macs(self) -> int:
        return sum(
            score_macs(site.tokens, site.channels, self._steps)
            for site in self._declared.tokens
            if site.name in self._chosen[SiteKind.TOKEN]
        )
