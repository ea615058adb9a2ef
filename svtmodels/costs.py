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
from .parts.synapse import parameters_of
from .parts.tokens import score_macs
from .surgery.compress import check_candidate, chosen_by_kind


@dataclass(frozen=True, slots=True)
class Costs:
    """Static costs of a network.

    Attributes:
        bytes: of all tensors in the packed file.
        parameters: stored numbers: weights, scales, biases.
        macs: multiply-accumulates per image if every input were dense; token scores included.
        first_macs: those of `macs` in the first synapse (a static image: once, not T times).
        score_macs: those of `macs` spent on choosing tokens.
        head_macs: those of `macs` in the classifier.
    """

    bytes: int
    parameters: int
    macs: int
    first_macs: int
    score_macs: int
    head_macs: int


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
    numbers = sum(count.weights(synapse) + count.shape(synapse)[0] for synapse in count.synapses)
    return 4 * numbers


class _Count:
    """Counts the costs of one choice per site."""

    def __init__(self, network: Network, chosen: Mapping[SiteKind, Mapping[str, int]]) -> None:
        self._network = network
        self._declared = network.declaration
        self._chosen = chosen
        self._steps = chosen[SiteKind.TIME].get(TIME_SITE, network.time_steps)
        self._modules = {s.name: network.get_submodule(s.weight) for s in self._declared.synapses}
        self._rows: dict[str, int] = {}
        self._columns: dict[str, int] = {}
        for group in self._declared.channels:
            if group.name in chosen[SiteKind.CHANNEL]:
                width = chosen[SiteKind.CHANNEL][group.name]
                self._rows |= dict.fromkeys(group.producers, width)
                self._columns |= dict.fromkeys(group.consumers, width)

    @property
    def synapses(self) -> tuple[Synapse, ...]:
        return self._declared.synapses

    def costs(self) -> Costs:
        sizes = [self._stored(synapse) for synapse in self.synapses]
        macs = {synapse.name: self._macs(synapse) for synapse in self.synapses}
        scores = self._score_macs()
        return Costs(
            bytes=sum(size for size, _ in sizes) + neuron_bytes(len(self._declared.neurons)),
            parameters=sum(numbers for _, numbers in sizes),
            macs=sum(macs.values()) + self._attention_macs() + scores,
            first_macs=macs[self.synapses[0].name],
            score_macs=scores,
            head_macs=sum(macs[s.name] for s in self.synapses if s.source is Source.POOLED),
        )

    def shape(self, synapse: Synapse) -> tuple[int, int, int]:
        """Output channels, input channels, kernel area."""
        weight, _ = parameters_of(self._modules[synapse.name])
        outputs, inputs, *kernel = weight.shape
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
        has_bias = self._modules[synapse.name].bias is not None
        vectors = int(has_bias) + 2 * int(synapse.norm is not None)
        size = float_bytes(weights) + (float_bytes(vectors * outputs) if vectors else 0)
        return size, weights + vectors * outputs

    def _macs(self, synapse: Synapse) -> int:
        positions = self._chosen[SiteKind.TOKEN].get(synapse.tokens or "", synapse.positions)
        once = synapse.source in (Source.IMAGE, Source.POOLED)
        return self.weights(synapse) * positions * (1 if once else self._steps)

    def _attention_macs(self) -> int:
        widths = {g.name: g.size for g in self._declared.channels}
        widths |= self._chosen[SiteKind.CHANNEL]
        total = 0
        for product in self._declared.attentions:
            tokens = self._chosen[SiteKind.TOKEN].get(product.site, product.tokens)
            per_head = widths[product.qk] * widths[product.v] // product.heads
            total += 2 * tokens * per_head * self._steps
        return total

    def _score_macs(self) -> int:
        return sum(
            score_macs(site.tokens, site.channels, self._steps)
            for site in self._declared.tokens
            if site.name in self._chosen[SiteKind.TOKEN]
        )
