"""Options of surgery: what is refused, and how it is said."""

from __future__ import annotations

import pytest

from spikefront.spaces import MAGNITUDE, BadInput, SurgeryOptions
from spikefront.spaces.surgery import ALLOWED


def test_options_come_back_from_their_mapping() -> None:
    assert SurgeryOptions.from_dict(MAGNITUDE.to_dict()) == MAGNITUDE
    assert SurgeryOptions.from_dict({}) == SurgeryOptions()


def test_the_first_allowed_value_is_the_default() -> None:
    defaults = SurgeryOptions().to_dict()
    assert {name: defaults[name] for name in ALLOWED} == {n: a[0] for n, a in ALLOWED.items()}


def test_magnitude_needs_no_moments() -> None:
    assert SurgeryOptions().second_order
    assert not MAGNITUDE.second_order


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channel": "l2"}, "unknown option of surgery 'channel'. Did you mean 'channels'"),
        ({"channels": "l3"}, "unknown surgery.channels 'l3'. Did you mean 'l2'"),
        ({"rounding": None}, "unknown surgery.rounding 'None'"),
        ({"recovery_images": -1}, "recovery_images is -1; give a whole number from 0"),
        ({"recovery_images": True}, "recovery_images is True"),
        ("l2", "give a mapping of options"),
        ({"vectors": "half"}, "unknown surgery.vectors 'half'"),
        ({"vectors": "float16", "arithmetic": "fixed"}, "vectors is 'float16'.*leave one of them"),
    ],
)
def test_wrong_options_are_refused(values: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        SurgeryOptions.from_dict(values)  # pyright: ignore[reportArgumentType]
