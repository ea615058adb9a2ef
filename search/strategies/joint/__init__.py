"""Our own strategy: one search over all kinds of sites, planned with a model of the network."""

from .strategy import Joint

__all__ = ["Joint"]
