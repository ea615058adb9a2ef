"""The LIF neuron whose time constant is learnt ("plif")."""

from __future__ import annotations

from typing import Any

from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor

from .neuron import LIF, SURROGATE_ALPHA, membrane


class ParametricLIF(neuron.ParametricLIFNode):
    """spikingjelly's `ParametricLIFNode` with the official constants, stateless between calls.

    One parameter `w` per layer, the time constant is ``1 / sigmoid(w)``. In eval it is a constant
    and the layer a `LIF`; `w` then gets no gradient.
    """

    def __init__(self, init_tau: float = 2.0, v_threshold: float = 1.0) -> None:
        super().__init__(
            init_tau=init_tau,
            decay_input=True,
            v_threshold=v_threshold,
            v_reset=0.0,
            surrogate_function=surrogate.Sigmoid(alpha=SURROGATE_ALPHA),
            detach_reset=True,
            step_mode="m",
        )

    @property
    def tau(self) -> float:
        """Time constant, in the precision of `w`."""
        return float(1 / self.w.detach().sigmoid())

    def as_lif(self) -> LIF:
        """What it amounts to in eval."""
        return LIF(self.tau, self.v_threshold)

    def potential(self, currents: Tensor) -> Tensor:
        """Membrane potential before reset, [T, ...], for input currents [T, ...]."""
        return membrane(currents, self.tau, self.v_threshold)

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Spikes [T, ...] for input currents [T, ...]."""
        if not self.training:
            return self.as_lif()(x_seq)
        self.reset()
        spikes = super().multi_step_forward(x_seq, *args, **kwargs)
        self.reset()
        assert isinstance(spikes, Tensor)
        return spikes


NeuronType = type[LIF] | type[ParametricLIF]
"""Type of a network's neurons; both take `v_threshold`."""
