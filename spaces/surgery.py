"""How what candidates choose is done: options of surgery, the same for a whole search."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from .errors import BadInput, unknown_name

ALLOWED: Mapping[str, tuple[str, ...]] = {
    "channels": ("surgeon", "l2"),
    "compensation": ("least-squares", "none"),
    "scales": ("importance", "mse"),
    "rounding": ("compensated", "nearest"),
}
"""Values of the options that are names; the first is the default."""


@dataclass(frozen=True, slots=True)
class SurgeryOptions:
    """Options of surgery.

    Attributes:
        channels: which channels of a group leave first.
        compensation: what the consumers of channels that left do about it.
        scales: how the step of integer weights is found.
        rounding: how weights become integers.
        recovery_images: calibration images that means and spreads behind every synapse are set
            right on; 0 leaves that out.
    """

    channels: str = "surgeon"
    compensation: str = "least-squares"
    scales: str = "importance"
    rounding: str = "compensated"
    recovery_images: int = 32

    def __post_init__(self) -> None:
        for name, allowed in ALLOWED.items():
            value = getattr(self, name)
            if value not in allowed:
                raise unknown_name(f"surgery.{name}", str(value), allowed)
        images = self.recovery_images
        if not isinstance(images, int) or isinstance(images, bool) or images < 0:
            raise BadInput(f"surgery.recovery_images is {images!r}; give a whole number from 0.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Options from a mapping; what is not named keeps its default.

        Raises:
            BadInput: unknown names or values.
        """
        if not isinstance(values, Mapping):
            raise BadInput(f"surgery is {values!r}; give a mapping of options.")
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise unknown_name("option of surgery", str(name), names)
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """All options by name."""
        return dataclasses.asdict(self)

    @property
    def second_order(self) -> bool:
        """Whether anything is decided by second moments of the synapses' inputs."""
        return (
            self.channels == "surgeon"
            or self.compensation == "least-squares"
            or self.scales == "importance"
            or self.rounding == "compensated"
        )


DEFAULT = SurgeryOptions()

MAGNITUDE = SurgeryOptions(
    channels="l2", compensation="none", scales="mse", rounding="nearest", recovery_images=0
)
"""By the size of weights alone, as the published methods do it; nothing is made up for."""
