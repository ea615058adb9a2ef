"""Numbers as a reader wants them. format.js does the same in the page."""

from __future__ import annotations

from dataclasses import dataclass

MINUS = "−"
THIN = "\u202f"
"""Narrow no-break space between a number and its unit."""

_BYTE_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_ENERGY_UNITS = ((1.0, "mJ"), (1e-3, "µJ"), (1e-6, "nJ"), (1e-9, "pJ"))


def format_bytes(value: float) -> str:
    """Three significant digits and a decimal unit: 61,440 -> ``61.4 kB``."""
    for size, unit in _BYTE_UNITS:
        if value >= size * 0.9995:
            return f"{significant(value / size)}{THIN}{unit}"
    return f"{value:.0f}{THIN}B"


def significant(value: float, digits: int = 3) -> str:
    """Up to `digits` significant digits, without an exponent or trailing zeros."""
    if value == 0:
        return "0"
    text = f"{float(f'{value:.{digits}g}'):f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", MINUS)


def format_percent(fraction: float, digits: int = 1) -> str:
    """Write a fraction in percent."""
    return f"{fraction * 100:.{digits}f}{THIN}%".replace("-", MINUS)


def format_points(difference: float) -> str:
    """Write a difference of two fractions in percentage points, signed, without the unit."""
    text = f"{difference * 100:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", MINUS)


def format_count(value: float) -> str:
    """Write a whole number with thousands separators."""
    return f"{value:,.0f}"


@dataclass(frozen=True, slots=True)
class EnergyUnit:
    """The unit that all energies of one report are shown in; `per_mj` of it make 1 mJ."""

    name: str
    per_mj: float

    @classmethod
    def fitting(cls, millijoules: float) -> EnergyUnit:
        """Choose the unit in which a typical energy reads well."""
        for size, name in _ENERGY_UNITS:
            if millijoules >= size:
                return cls(name, 1 / size)
        return cls("mJ", 1.0)

    def text(self, millijoules: float) -> str:
        """Write an energy with its unit."""
        return f"{significant(millijoules * self.per_mj)}{THIN}{self.name}"
