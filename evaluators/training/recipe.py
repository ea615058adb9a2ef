"""How a network is trained: one frozen set of numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ...spaces.errors import BadInput, unknown_name


@dataclass(frozen=True, slots=True)
class Recipe:
    """AdamW with warm-up and cosine decay, surrogate gradients, light augmentation.

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
        clip_norm: largest norm of the gradient.
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
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise BadInput(f"recipe.{name} is {getattr(self, name)}; it must be above 0.")
        for name in ("final_learning_rate", "warmup_epochs", "weight_decay", "crop_padding"):
            if not 0 <= getattr(self, name) < math.inf:
                raise BadInput(f"recipe.{name} is {getattr(self, name)}; give 0 or more.")
        if not 0 <= self.label_smoothing < 1:
            raise BadInput(f"recipe.label_smoothing is {self.label_smoothing}; give 0 <= x < 1.")

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


def _fits(value: Any, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)
