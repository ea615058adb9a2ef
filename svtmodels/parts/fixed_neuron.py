"""The LIF neuron in fixed-point arithmetic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor
from typing_extensions import override

from .fixed_grid import CURRENT_BITS, HIGHEST, STEPS, to_grid
from .state_neuron import StateLIF


class FixedLIF(StateLIF):
    """A `StateLIF` of integers: current x, threshold theta and membrane v in steps of 2^-12.

    ``h = v + (x - v) k / 2^12; s = h >= theta; v = sat(rint(h (1 - s) / 2^m)) 2^m``, where k is
    ``2^12 / tau`` as a whole number and rint rounds half to even. For tau = 2 that is
    ``2 h = v + x``, compared with 2 theta and shifted. What enters is rounded to the grid first,
    so that an attention's or an unquantised synapse's currents are integers here, too.

    A membrane has 24 bits and m = 0 unless few `bits` were chosen. Then its levels are a power
    of two of steps apart, nearest to the ``theta / 2^(bits - 2)`` of `StateLIF`: a threshold that
    was matched to firing rates would have to move by up to half of 2^(bits - 2) steps if it were
    to be a multiple of the levels, and a shift needs no division.

    Args:
        tau: time constant, above 1; becomes ``2^12 / k``.
        v_threshold: theta; becomes a multiple of 2^-12, at least one.
        bits: of the membrane.
    """

    def __init__(self, tau: float, v_threshold: float, bits: int = CURRENT_BITS) -> None:
        numerator = min(max(round(STEPS / tau), 1), STEPS - 1)
        theta = min(max(round(v_threshold * STEPS), 1), HIGHEST) / STEPS
        # The packed file has float32, out of which the numerator comes back exactly.
        super().__init__(float(np.float32(STEPS / numerator)), theta, bits)

    @property
    def numerator(self) -> int:
        """k: what the difference of current and membrane is multiplied by, over 2^12."""
        return round(STEPS / float(self.tau))

    @property
    def shift(self) -> int:
        """m: two levels of the membrane are 2^m steps apart."""
        theta = float(self.v_threshold) * STEPS
        return max(round(math.log2(theta / 2 ** (self.bits - 2))), 0)

    @property
    @override
    def step(self) -> float:
        return 2**self.shift / STEPS

    @override
    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Spikes [T, ...] for input currents [T, ...]."""
        currents = _entering(x_seq)
        if self._halves:
            return super().multi_step_forward(currents)
        return self.fired(currents.double()).to(x_seq.dtype)

    @override
    def potential(self, currents: Tensor) -> Tensor:
        """Membrane potential before reset, [T, ...], for input currents [T, ...]."""
        steps = _entering(currents)
        exact = steps if self._halves else steps.double()
        return super().potential(exact).to(currents.dtype)

    @override
    def charged(self, membrane: Tensor, current: Tensor) -> Tensor:
        return membrane + (current - membrane) * (self.numerator / STEPS)

    @property
    def _halves(self) -> bool:
        """Whether tau is 2: float32 then holds all that is computed, else float64 does."""
        return 2 * self.numerator == STEPS


def _entering(x_seq: Tensor) -> Tensor:
    """Currents [T, ...] on the grid; what is the same at every step is moved there once."""
    if x_seq.stride(0) == 0:
        return to_grid(x_seq[0]).expand(x_seq.shape)
    return to_grid(x_seq)
