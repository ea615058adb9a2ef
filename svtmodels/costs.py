"""What a candidate costs, before anything is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..spaces.candidate import Candidate
from ..spaces.site import INTEGER_BITS, UNTOUCHED_BITS, SiteKind
from ..spaces.surgery import DEFAULT
from ..spaces.widths import chosen_widths
from .declaration import Declaration, NeuronLayer, Source, Synapse
from .network import TIME_SITE, Network
from .neuron_sizes import NeuronSize, neuron_sizes
from .packed.layout import float_bytes, neuron_bytes, vector_bytes, weight_bytes
from .parts.synapse import shape_of
from .parts.token_rule import TokenRule
from .parts.token_scores import score_macs
from .surgery.compress import check_candidate, chosen_by_kind
from .surgery.prepared import PreparedSurgery


@dataclass(frozen=True, slots=True)
class Costs:
    """Static costs of a network.

    Attributes:
        bytes: of all tensors in the packed file.
        parameters: weights that were not pruned away, scales, biases.
        macs: multiply-accumulates per image if every input were dense; token scores included.
        first_macs: those of `macs` on images (once, not T times); event counts cost SynOps.
        score_macs: those of `macs` spent on choosing tokens.
        head_macs: those of `macs` on pooled features; a classifier that sees spikes costs SynOps.
        current_macs: those of `macs` on real values between two synapses without a neuron.
        state_bytes: of the membranes of one image between two steps, if all layers keep theirs:
            memory at run time, no part of `bytes`. Untouched ones have 32 bits.
    """

    bytes: int
    parameters: int
    macs: int
    first_macs: int
    score_macs: int
    head_macs: int
    current_macs: int = 0
    state_bytes: int = 0


def static_costs(
    network: Network, candidate: Candidate, prepared: PreparedSurgery | None = None
) -> Costs:
    """Costs of `compress(network, candidate, prepared)`.

    Args:
        network: the trained network.
        candidate: of one of its spaces.
        prepared: surgery of this network; costs depend on its rule for tokens, on how it stores
            vectors, and on what stays where one threshold serves the densities of all matrices.

    Raises:
        BadInput: the candidate does not fit the network.
    """
    chosen = chosen_by_kind(check_candidate(network, candidate))
    prepared = prepared or PreparedSurgery(network)
    rule = TokenRule.of(prepared.options, network.token_window)
    kept, vectors = prepared.kept_numbers(chosen), prepared.options.vectors
    return Count(network, chosen, kept, rule, vectors=vectors).costs()


def parent_bytes(network: Network) -> int:
    """Bytes of the trained network's float32 parameters after folding every batch norm.

    The reference of `bytes_ratio`; parameters that never act are not counted.
    """
    count = Count(network, {kind: {} for kind in SiteKind}, {})
    return 4 * sum(count.folded(synapse) for synapse in network.declaration.stored)


class Count:
    """Counts the costs of one choice per site.

    Args:
        network: the trained one.
        chosen: values that differ from the full size, by kind and site name.
        kept: numbers that stay of each pruned weight, by synapse.
        rule: by which tokens are chosen.
        declared: parts that are counted; None: the whole network.
        vectors: what scales and biases of quantised synapses are stored as.
    """

    def __init__(
        self,
        network: Network,
        chosen: Mapping[SiteKind, Mapping[str, int]],
        kept: Mapping[str, int],
        rule: TokenRule | None = None,
        declared: Declaration | None = None,
        vectors: str = DEFAULT.vectors,
    ) -> None:
        self._network = network
        self._rule = rule or TokenRule()
        self._kept = kept
        self._declared = declared or network.declaration
        self._chosen = chosen
        self._vectors = vectors
        self._steps = chosen[SiteKind.TIME].get(TIME_SITE, network.time_steps)
        self._widths = chosen_widths(chosen)
        self._rows, self._columns = self._declared.rows_and_columns(self._widths)

    def costs(self) -> Costs:
        """All of them."""
        sizes = [self.stored(synapse) for synapse in self._declared.synapses]
        scales = self._scales()
        macs = {synapse.name: self.macs(synapse) for synapse in self._declared.synapses}
        scores = self.score_macs()
        return Costs(
            bytes=sum(size for size, _ in sizes) + self.scale_bytes() + self.neuron_bytes(),
            parameters=sum(numbers for _, numbers in sizes) + sum(scales),
            macs=sum(macs.values()) + self.attention_macs() + scores,
            first_macs=sum(
                macs[s.name] for s in self._declared.synapses if s.source is Source.IMAGE
            ),
            score_macs=scores,
            head_macs=sum(
                macs[s.name] for s in self._declared.synapses if s.source is Source.POOLED
            ),
            current_macs=sum(
                macs[s.name] for s in self._declared.synapses if s.source is Source.CURRENTS
            ),
            state_bytes=self._state_bytes(),
        )

    def shape(self, synapse: Synapse) -> tuple[int, int, int]:
        """Output channels, input channels, kernel area."""
        outputs, inputs, *kernel = shape_of(self._network.get_submodule(synapse.weight))
        rows = self._rows.get(synapse.name, outputs)
        return rows, self._columns.get(synapse.name, inputs), math.prod(kernel)

    def weights(self, synapse: Synapse) -> int:
        """Numbers of a synapse's weight."""
        return math.prod(self.shape(synapse))

    def stored(self, synapse: Synapse) -> tuple[int, int]:
        """Bytes and numbers that the packed file holds for a synapse."""
        bits = self._chosen[SiteKind.WEIGHT].get(synapse.name, UNTOUCHED_BITS)
        if bits not in INTEGER_BITS:
            return self._floats(synapse, bits)
        size, numbers = self._weight(synapse, bits)
        vectors = 2 * self.shape(synapse)[0]
        return size + vector_bytes(vectors, self._vectors), numbers + vectors

    def _floats(self, synapse: Synapse, bits: int) -> tuple[int, int]:
        """Bytes and numbers of a synapse of floats: its weights, then all vectors together."""
        rows = 2 * int(synapse.norm is not None)
        if synapse.links and synapse.name not in self._kept:
            links = [self._floats(link, bits) for link in synapse.links]
            size, numbers = sum(s for s, _ in links), sum(n for _, n in links)
        else:
            size, numbers = self._weight(synapse, bits)
            # A chain that was pruned is merged, and has the bias of all of its links.
            rows += int(bool(synapse.links) or self._has_bias(synapse))
        vectors = rows * self.shape(synapse)[0]
        return size + float_bytes(vectors), numbers + vectors

    def _weight(self, synapse: Synapse, bits: int) -> tuple[int, int]:
        """Bytes and numbers of one weight tensor."""
        count, kept = self.weights(synapse), self._kept.get(synapse.name)
        return weight_bytes(count, bits, kept), count if kept is None else kept

    def _state_bytes(self) -> int:
        sizes = neuron_sizes(self._network)
        states = [site for site in self._network.sites if site.kind is SiteKind.STATE]
        layers = {layer.name: layer for layer in self._declared.neurons}
        bits = [self._bits(layers[site.name], sizes[site.name]) for site in states]
        return sum(-(-layer // 8) for layer in bits)

    def _bits(self, layer: NeuronLayer, size: NeuronSize) -> int:
        """Bits of the membranes of a neuron layer for one image."""
        bits = self._chosen[SiteKind.STATE].get(layer.name, UNTOUCHED_BITS)
        # Membranes stay where they are while the tokens that pass change by the step.
        by_step = self._rule.masks == "step"
        positions = size.positions if by_step else self._tokens(layer.tokens, size.positions)
        channels = self._widths.get(layer.channels or "", size.channels)
        return positions * channels * bits

    def folded(self, synapse: Synapse) -> int:
        """Numbers of a synapse that holds a weight, once its batch norm is folded into it."""
        has_bias = self._has_bias(synapse) or synapse.norm is not None
        return self.weights(synapse) + int(has_bias) * self.shape(synapse)[0]

    def _has_bias(self, synapse: Synapse) -> bool:
        return self._network.get_submodule(synapse.weight).bias is not None

    def scale_bytes(self) -> int:
        """Bytes of the scales of residual branches."""
        return sum(float_bytes(count) for count in self._scales())

    def neuron_bytes(self) -> int:
        """Bytes of the neurons' constants."""
        return neuron_bytes(len(self._declared.neurons))

    def _scales(self) -> list[int]:
        return [
            self._widths.get(scale.channels, self._network.get_parameter(scale.path).numel())
            for scale in self._declared.scales
        ]

    def macs(self, synapse: Synapse) -> int:
        """Multiply-accumulates of a synapse, for one image."""
        positions = self._tokens(synapse.tokens, synapse.positions)
        once = synapse.source in (Source.IMAGE, Source.POOLED)
        return self.weights(synapse) * positions * (1 if once else self._steps)

    def attention_macs(self) -> int:
        """Multiply-accumulates of what attentions compute besides their synapses."""
        widths = {g.name: g.size for g in self._declared.channels} | self._widths
        total = 0
        for product in self._declared.attentions:
            tokens = self._tokens(product.site, product.tokens)
            macs = product.macs(tokens, widths[product.qk], widths[product.v])
            total += macs * self._steps
        return total

    def _tokens(self, site: str | None, full: int) -> int:
        """Tokens that pass at a site, of the full grid."""
        allowed = self._rule.allowed(site, self._chosen[SiteKind.TOKEN]) if site else None
        return full if allowed is None else allowed

    def score_macs(self) -> int:
        """Multiply-accumulates of choosing tokens."""
        return sum(
            score_macs(
                self._rule,
                site.tokens,
                self._widths.get(site.stream.name, site.stream.size),
                self._steps,
            )
            for site in self._declared.tokens
            if self._rule.chooses(site.name, self._chosen[SiteKind.TOKEN])
        )
