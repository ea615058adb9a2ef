"""Decides what to try next, remembers what was learned, tells the user."""

from .config import Config
from .search import Search, SearchResult

__all__ = ["Config", "Search", "SearchResult"]
