"""Energy per image from counted operations, by a named preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..spaces.errors import unknown_name

_PICOJOULE_IN_MILLIJOULE = 1e-9


@dataclass(frozen=True, slots=True)
class EnergyPreset:
    """Energy of one operation in pJ; memory traffic is not part of it.

    Attributes:
        name: printed with every energy.
        mac: multiply-accumulate on a real-valued input.
        ac: accumulate, one per spike and synapse.
        source: where the numbers come from.
    """

    name: str
    mac: float
    ac: float
    source: str

    def energy(self, macs: float, synops: float) -> float:
        """Energy in mJ."""
        return (self.mac * macs + self.ac * synops) * _PICOJOULE_IN_MILLIJOULE

    @property
    def formula(self) -> str:
        """What the energy is made of, in words."""
        return f"{self.mac} pJ x MACs on real values + {self.ac} pJ x SynOps ({self.source})"


PRESETS: Mapping[str, EnergyPreset] = {
    "45nm": EnergyPreset("45nm", 4.6, 0.9, "45 nm, float32; Horowitz, ISSCC 2014"),
}


def energy_preset(name: str) -> EnergyPreset:
    """Preset by name.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in PRESETS:
        raise unknown_name("energy preset", name, PRESETS)
    return PRESETS[name]
