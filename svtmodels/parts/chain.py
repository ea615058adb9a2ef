"""Chains of synapse, batch norm and neuron under their official names."""

from __future__ import annotations

from torch import Tensor, nn

from .synapse import ChannelNorm, Conv, Pointwise


class Chains(nn.Module):
    """A layer made of chains.

    Chain ``q`` is the synapse ``q_conv`` (or ``q_linear``, by the suffix), the batch norm ``q_bn``
    and the neuron ``q_lif``.
    """

    suffix = "conv"

    def add_synapse(self, name: str, synapse: Conv | Pointwise) -> None:
        """Add a synapse with its batch norm."""
        self.add_module(f"{name}_{self.suffix}", synapse)
        self.add_module(f"{name}_bn", ChannelNorm(len(synapse.weight)))

    def add_chain(self, name: str, synapse: Conv | Pointwise, neuron: nn.Module) -> None:
        """Add a synapse with its batch norm, and a neuron behind or before it."""
        self.add_synapse(name, synapse)
        self.add_module(f"{name}_lif", neuron)

    def currents(self, name: str, x: Tensor) -> Tensor:
        """Synapse and batch norm: [..., C_in] -> [..., C_out]."""
        return self.get_submodule(f"{name}_bn")(self.get_submodule(f"{name}_{self.suffix}")(x))

    def spikes(self, name: str, currents: Tensor) -> Tensor:
        """Neuron: currents [T, ...] to spikes of the same shape."""
        return self.get_submodule(f"{name}_lif")(currents)

    def fire(self, name: str, x: Tensor) -> Tensor:
        """Synapse, batch norm and neuron: [T, ..., C_in] -> [T, ..., C_out]."""
        return self.spikes(name, self.currents(name, x))
