"""Who decides what to try next: every published method and sampler is a strategy."""

from .base import Limits, Strategy, Suggestion, Task
from .registry import STRATEGIES, build_strategy

__all__ = ["STRATEGIES", "Limits", "Strategy", "Suggestion", "Task", "build_strategy"]
