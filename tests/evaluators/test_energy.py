from __future__ import annotations

import pytest

from spikefront.evaluators.energy import PRESETS, energy_preset
from spikefront.spaces import BadInput


def test_energy_by_hand() -> None:
    preset = energy_preset("45nm")
    # 2e6 MACs of 4.6 pJ and 10e6 accumulates of 0.9 pJ: 9.2 + 9 microjoules.
    assert preset.energy(2e6, 10e6) == pytest.approx(0.0182)
    assert preset.energy(0, 0) == 0.0


def test_every_preset_names_itself_its_numbers_and_its_source() -> None:
    for name, preset in PRESETS.items():
        assert preset.name == name
        for part in (preset.mac, preset.ac, preset.source):
            assert str(part) in preset.formula


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"unknown energy preset '45n'. Did you mean '45nm'\?"):
        energy_preset("45n")
