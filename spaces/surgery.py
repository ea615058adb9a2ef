"""How what candidates choose is done: options of surgery, the same for a whole search."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from .errors import BadInput, unknown_name

ALLOWED: Mapping[str, tuple[str, ...]] = {
    "channels": (
        "surgeon",
        "l2",
        "l2-producer",
        "l1",
        "l1-joint",
        "bn-scale",
        "rate",
        "variance",
        "taylor",
    ),
    "compensation": ("least-squares", "mean", "none"),
    "scales": ("importance", "mse", "max", "percentile"),
    "scale_per": ("channel", "tensor"),
    "rounding": ("refined", "compensated", "nearest"),
    "density": ("compensated", "magnitude"),
    "density_scope": ("matrix", "network"),
    "tokens": ("energy", "information", "official", "spikes", "random"),
    "token_masks": ("image", "step"),
    "token_mode": ("revisit", "stop"),
    "recovery": ("spread-rates", "spread", "mean", "rates"),
    "arithmetic": ("float32", "fixed"),
    "vectors": ("float32", "float16", "int8"),
}
"""Values of the options that are names; the first is the default."""


@dataclass(frozen=True, slots=True)
class SurgeryOptions:
    """Options of surgery.

    Attributes:
        channels: which channels of a group leave first.
        compensation: what the consumers of channels that left do about it.
        scales: how the step of integer weights is found.
        scale_per: what shares one step.
        rounding: how weights become integers.
        density: which numbers of a weight tensor leave, and what the others do about it.
        density_scope: whether each matrix loses what its own density says, or all of them
            together the sum, by one threshold.
        tokens: which tokens of a block stay.
        token_masks: whether all steps of an image keep the same tokens, or each its own.
        token_mode: whether every block chooses among all tokens, or only among those that the
            block before processed.
        recovery: what is set right after surgery, without training.
        recovery_images: calibration images that it is set right on; 0 leaves that out.
        arithmetic: of quantised synapses and LIF neurons once all else is done; `fixed` for
            boards that know integers alone.
        vectors: what scales and biases of quantised synapses are rounded to and stored as; they
            are computed with in float32. Fixed point has formats of its own.
    """

    channels: str = "surgeon"
    compensation: str = "least-squares"
    scales: str = "importance"
    scale_per: str = "channel"
    rounding: str = "refined"
    density: str = "compensated"
    density_scope: str = "matrix"
    tokens: str = "energy"
    token_masks: str = "image"
    token_mode: str = "revisit"
    recovery: str = "spread-rates"
    recovery_images: int = 32
    arithmetic: str = "float32"
    vectors: str = "float32"

    def __post_init__(self) -> None:
        for name, allowed in ALLOWED.items():
            value = getattr(self, name)
            if value not in allowed:
                raise unknown_name(f"surgery.{name}", str(value), allowed)
        images = self.recovery_images
        if not isinstance(images, int) or isinstance(images, bool) or images < 0:
            raise BadInput(f"surgery.recovery_images is {images!r}; give a whole number from 0.")
        if self.arithmetic == "fixed" and self.vectors != "float32":
            raise BadInput(
                f"surgery.vectors is {self.vectors!r} and surgery.arithmetic is 'fixed', which has "
                "formats of its own for scales and biases; leave one of them at 'float32'."
            )

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
            or self.rounding != "nearest"
            or self.density == "compensated"
        )


DEFAULT = SurgeryOptions()

MAGNITUDE = SurgeryOptions(
    channels="l2",
    compensation="none",
    scales="mse",
    rounding="nearest",
    density="magnitude",
    recovery_images=0,
)
"""By the size of weights alone, as the published methods do it; nothing is made up for."""
