"""Puts the weights that single ones left into a network of floats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ..declaration import Synapse
from ..network import Network
from ..parts.synapse import ChannelNorm, CompositeSynapse, merged_synapse, parameters_of
from .pieces import Sparse
from .prepared import PreparedSurgery


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """What is kept of the synapses of a small network, by their names.

    Attributes:
        rows: output channels; a synapse that is not named keeps all.
        columns: input channels.
        counts: numbers that are not zero, of those that are pruned.
    """

    rows: Mapping[str, Tensor]
    columns: Mapping[str, Tensor]
    counts: Mapping[str, int]

    def sparse(self, name: str) -> Sparse | None:
        """What a pruned synapse keeps; None if it is not pruned."""
        if name not in self.counts:
            return None
        return Sparse(self.rows.get(name), self.counts[name])


def prune_synapse(
    network: Network, synapse: Synapse, prepared: PreparedSurgery, cuts: Cuts
) -> None:
    """Give a synapse of the small network, whose channels were cut, its sparse weight.

    A chain is merged to the one synapse that it amounts to: that is what is pruned.
    """
    sparse = cuts.sparse(synapse.name)
    assert sparse is not None
    columns = cuts.columns.get(synapse.name)
    found = prepared.pruned(synapse.name, columns, sparse)
    module = network.get_submodule(synapse.weight)
    if isinstance(module, CompositeSynapse):
        bias = prepared.bias(synapse.name, columns, sparse.rows)
        merged = merged_synapse(module, found.weight.clone(), bias.clone())
        network.set_submodule(synapse.weight, merged)
    else:
        module.weight = nn.Parameter(found.weight.clone())
    if found.shift is not None:
        _shift(network, synapse, found.shift)


def _shift(network: Network, synapse: Synapse, shift: Tensor) -> None:
    """Add a constant to a synapse's output: to its bias, or to what is behind it."""
    _, bias = parameters_of(network.get_submodule(synapse.weight))
    if bias is not None:
        network.get_parameter(f"{synapse.weight}.bias").data = bias + shift
        return
    norm = network.get_submodule(synapse.norm or "")
    assert isinstance(norm, ChannelNorm) and norm.running_mean is not None
    norm.running_mean = norm.running_mean - shift
