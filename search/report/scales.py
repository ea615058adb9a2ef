"""Axis scales with their ticks, shared by the static picture and the page's script."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .formats import format_bytes, format_percent

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to [0, 1] along an axis; `ticks` are (value, label), ascending."""

    kind: Literal["log", "linear"]
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def position(self, value: float) -> float:
        """Place of a value along the axis: 0 at `low`, 1 at `high`."""
        if self.kind == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def positions(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """`position` of many values, [N]."""
        if self.kind == "log":
            return np.log(values / self.low) / math.log(self.high / self.low)
        return (values - self.low) / (self.high - self.low)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def log_bytes(low: float, high: float) -> Scale:
    """Logarithmic byte axis that holds `low` and `high` with some air."""
    air = max((high / low) ** 0.04, 1.05)
    low, high = low / air, high * air
    return Scale("log", low, high, _labelled_bytes(_log_ticks(low, high)))


def linear_bytes(high: float) -> Scale:
    """Linear byte axis from 0."""
    high *= 1.04
    return Scale("linear", 0.0, high, _labelled_bytes(nice_ticks(0.0, high, 8)))


def accuracy_axis(low: float, high: float) -> Scale:
    """Linear axis of accuracies (fractions), labelled in percent."""
    ticks = nice_ticks(low, high, 6)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 0.01
    digits = max(0, -math.floor(math.log10(step * 100) + 1e-9))
    return Scale("linear", low, high, tuple((t, format_percent(t, digits)) for t in ticks))


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Round values within [low, high], about `count` of them."""
    rough = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = magnitude * next(s for s in _STEPS if s * magnitude >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # Rounding takes away what binary floats add (0.30000000000000004).
    return [round(index * step, 12) for index in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = math.log10(high / low)
    if decades < 0.7:
        return nice_ticks(low, high, 6)
    multiples = (1.0, 2.0, 5.0) if decades < 3.5 else (1.0,)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = (multiple * 10.0**exponent for exponent in exponents for multiple in multiples)
    return [tick for tick in ticks if low <= tick <= high]


def _labelled_bytes(ticks: list[float]) -> tuple[tuple[float, str], ...]:
    return tuple((tick, format_bytes(tick)) for tick in ticks)
