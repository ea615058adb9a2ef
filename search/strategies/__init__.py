"""Who decides what to try next: every published method and sampler is a strategy."""

from .base import Strategy
from .registry import STRATEGIES, build_strategy

__all__ = ["STRATEGIES", "Strategy", "build_strategy"]
