"""The LIF neuron whose membrane is kept in a few bits between two steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .neuron import LIF, run_states
from .synapse import round_through


class StateLIF(LIF):
    """A `LIF` that rounds its membrane after every step: what is left of it must be stored.

    ``h = v + (x - v) / tau; s = h >= theta; v = Q(h (1 - s))``. Q rounds to the nearest of
    ``2^bits`` levels, half to even, ``theta / 2^(bits - 2)`` apart from -2 theta on: two's
    complement integers over [-2 theta, 2 theta) (methods 5). What decides over a spike is not
    rounded. Gradients pass the rounding as if it were not there.

    Args:
        tau: time constant; one that was learnt is a constant here.
        v_threshold: theta.
        bits: of the membrane, 4..16.
    """

    def __init__(self, tau: float, v_threshold: float, bits: int) -> None:
        super().__init__(tau, v_threshold)
        self.bits = bits

    @property
    def step(self) -> float:
        """Distance of two levels."""
        return float(self.v_threshold) / 2 ** (self.bits - 2)

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Spikes [T, ...] for input currents [T, ...]."""
        theta = float(self.v_threshold)
        if not (torch.is_grad_enabled() and x_seq.requires_grad):
            spikes = run_states(x_seq, float(self.tau), theta, self.step, 2 ** (self.bits - 1))
            if spikes is not None:
                return spikes
        return self.fired(x_seq)

    def fired(self, x_seq: Tensor) -> Tensor:
        """Spikes [T, ...] for input currents [T, ...], in plain torch."""
        theta = float(self.v_threshold)
        v, fired = torch.zeros_like(x_seq[0]), []
        for current in x_seq:
            h = self.charged(v, current)
            spikes = self.surrogate_function(h - theta)
            v = self.stored(h * (1 - spikes.detach()))
            fired.append(spikes)
        return torch.stack(fired)

    def potential(self, currents: Tensor) -> Tensor:
        """Membrane potential before reset, [T, ...], for input currents [T, ...]."""
        v, potentials = torch.zeros_like(currents[0]), []
        for current in currents:
            h = self.charged(v, current)
            potentials.append(h)
            v = self.stored(h * (h < float(self.v_threshold)))
        return torch.stack(potentials)

    def charged(self, membrane: Tensor, current: Tensor) -> Tensor:
        """A membrane potential [...] behind the current of one step."""
        return membrane + (current - membrane) / float(self.tau)

    def stored(self, membrane: Tensor) -> Tensor:
        """A membrane potential [...] as it is kept until the next step."""
        half = 2 ** (self.bits - 1)
        return round_through(membrane / self.step).clamp(-half, half - 1) * self.step
