"""Training of a network on the images that a search does not judge it by."""

from .loop import Progress, TrainingResult, train
from .recipe import Recipe

__all__ = ["Progress", "Recipe", "TrainingResult", "train"]
