"""How a network is trained: one frozen set of numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ...spaces.errors import BadInput, unknown_name

PRECISIONS = ("float32", "bfloat16")
LOSSES = ("mean", "tet")
_POSITIVE = ("epochs", "batch_size", "learning_rate", "clip_norm")
_NOT_NEGATIVE = (
    "final_learning_rate",
    "warmup_epochs",
    "weight_decay",
    "crop_padding",
    "mixup",
    "mixup_epochs",
    "policy_operations",
)
_SHARES = ("label_smoothing", "tet_weight", "averaging")


@dataclass(frozen=True, slots=True)
class Recipe:
    """AdamW with warm-up and cosine decay, surrogate gradients, augmentation.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: peak.
        final_learning_rate: at the last step.
        warmup_epochs: of linear rise from zero.
        weight_decay: on weights of two and more axes; biases and batch norms go without.
        label_smoothing: share of the target that is spread over all classes.
        crop_padding: pixels of black padding before a random crop of the original size.
        flip: whether images are mirrored at random.
        policy_operations: random operations on each image (RandAugment, Cubuk et al. 2020).
        policy_magnitude: their strength, 0 to 10.
        mixup: alpha of the Beta distribution that pairs of images are mixed by (Zhang et al.
            2018); 0 leaves it out.
        mixup_epochs: epochs after which images are no longer mixed; 0 mixes to the end.
        loss: of the mean logits, or ``tet``: of every step's logits (Deng et al. 2022).
        tet_weight: lambda of the TET loss.
        averaging: decay per step of the exponential moving average of the weights that is kept
            instead of the last weights; 0 keeps the last.
        clip_norm: largest norm of the gradient.
        precision: of the activations, `PRECISIONS`; weights and their updates stay float32.
    """

    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 2e-3
    final_learning_rate: float = 1e-5
    warmup_epochs: float = 3.0
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    crop_padding: int = 3
    flip: bool = False
    policy_operations: int = 0
    policy_magnitude: float = 9.0
    mixup: float = 0.0
    mixup_epochs: int = 0
    loss: str = "mean"
    tet_weight: float = 1e-3
    averaging: float = 0.0
    clip_norm: float = 1.0
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not 0 < getattr(self, name) < math.inf:
                raise BadInput(f"recipe.{name} is {getattr(self, name)}; it must be above 0.")
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < math.inf:
                raise BadInput(f"recipe.{name} is {getattr(self, name)}; give 0 or more.")
        for name in _SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise BadInput(f"recipe.{name} is {getattr(self, name)}; give 0 <= x < 1.")
        if not 0 <= self.policy_magnitude <= 10:
            raise BadInput(f"recipe.policy_magnitude is {self.policy_magnitude}; give 0 to 10.")
        for name, allowed in (("precision", PRECISIONS), ("loss", LOSSES)):
            if getattr(self, name) not in allowed:
                raise unknown_name(f"recipe.{name}", getattr(self, name), allowed)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Recipe from a mapping; what is not named keeps its default.

        Raises:
            BadInput: unknown names, wrong types, values out of range.
        """
        kinds = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        values = {}
        for name, value in data.items():
            if name not in kinds:
                raise unknown_name("recipe field", str(name), kinds)
            if not _fits(value, kinds[name]):
                raise BadInput(f"recipe.{name} is {value!r}; give {kinds[name].__name__}.")
            values[name] = kinds[name](value)
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """All fields by name."""
        return dataclasses.asdict(self)

    def learning_rate_at(self, epoch: float) -> float:
        """Learning rate after `epoch` epochs, fractions included."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        span = max(self.epochs - self.warmup_epochs, 1e-9)
        done = min((epoch - self.warmup_epochs) / span, 1.0)
        height = self.learning_rate - self.final_learning_rate
        return self.final_learning_rate + height * (1 + math.cos(math.pi * done)) / 2

    def mixes_in(self, epoch: int) -> bool:
        """Whether images of this epoch, counted from 0, are mixed."""
        return self.mixup > 0 and (not self.mixup_epochs or epoch < self.mixup_epochs)


def _fits(value: Any, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)
