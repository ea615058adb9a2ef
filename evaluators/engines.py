"""What can run a network: names for configs and settings."""

COMPILED = "compiled"
"""Kernels that do work where spikes are (`svtmodels.engine`)."""
PLAIN = "torch"
"""The network's own modules."""
ENGINES = (COMPILED, PLAIN)
"""All of them; the first is the default."""
