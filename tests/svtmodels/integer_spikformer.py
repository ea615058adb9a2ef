"""A packed Spikformer in plain integers: what a board without floats computes.

The passage of spikes is that of `examples/numpy_reader.py`; every synapse and every neuron is
replaced by int64 arithmetic on what manifest and tensors say. Only shapes, spikes and the images
(rounded to whole grid steps first) pass through floats, which hold them exactly.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np

_READER = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "numpy_reader.py"))
_STEPS = 4096
_LOWEST, _HIGHEST = -(2**23), 2**23 - 1


def shifted(number: np.ndarray, bits: int) -> np.ndarray:
    """Integers over 2^bits, rounded half to even, with adds and shifts alone."""
    if bits <= 0:
        return number << -bits
    odd = (number >> bits) & 1
    return (number + (1 << (bits - 1)) - 1 + odd) >> bits


class IntegerSynapse:
    """int32 sum, int16 mantissa, shift, 24-bit bias."""

    def __init__(self, reader: Any, shift: int) -> None:
        self.reader = reader
        self.shift = shift
        self.mantissas = _whole(reader.vectors["scale"], 2.0**shift)
        self.biases = _whole(reader.vectors["bias"], _STEPS)
        assert np.abs(self.mantissas).max() < 2**15
        reader.weight = _whole(reader.weight, 1)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Currents in steps, as whole numbers."""
        grid, limit = self.reader.entry["input_grid"], self.reader.entry["input_limit"]
        steps = np.rint(x * np.float32(grid)).clip(-limit, limit)
        acc = self.reader.accumulate(_whole(steps, 1))
        assert np.abs(acc).max() < 2**31
        return (shifted(acc * self.mantissas, self.shift - 12) + self.biases).clip(
            _LOWEST, _HIGHEST
        )


class IntegerSpikformer(_READER["Spikformer"]):
    """Runs a packed folder whose synapses are all quantised."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.arithmetic = self.manifest["arithmetic"]
        shifts = self.arithmetic["scale_shifts"]
        self.synapses = {n: IntegerSynapse(s, shifts[n]) for n, s in self.synapses.items()}

    def fire(self, layer: str, currents: np.ndarray) -> np.ndarray:
        """Spikes [T, ...] for currents in steps, or for attention's, which are still real."""
        if currents.dtype != np.int64:
            currents = _whole(currents, _STEPS)
        numerator = self.arithmetic["leaks"][layer]
        bits, shift = self.states.get(layer, 24), self.arithmetic["membrane_shifts"][layer]
        theta = int(_whole(self.constants[layer][1:], _STEPS)[0])
        v, spikes = np.zeros_like(currents[0]), np.empty(currents.shape, np.float32)
        for step, x in enumerate(currents):
            h = v * _STEPS + (x - v) * numerator
            spikes[step] = h >= theta * _STEPS
            half = 2 ** (bits - 1)
            left = np.where(spikes[step] > 0, 0, h)
            v = shifted(left, 12 + shift).clip(-half, half - 1) << shift
        self.counts[layer] = int(spikes.sum())
        return spikes


def _whole(numbers: np.ndarray, steps: float) -> np.ndarray:
    found = np.asarray(numbers, np.float64) * steps
    assert (found == np.rint(found)).all(), "these numbers are not on the grid"
    return found.astype(np.int64)
