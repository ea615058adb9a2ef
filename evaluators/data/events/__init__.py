"""Recordings of event cameras, summed up to frames [T, 2, H, W]."""

from .framing import Framing
from .recordings import EventRecordings
from .splits import event_splits

__all__ = ["EventRecordings", "Framing", "event_splits"]
