"""Leaves searches in MLflow: runs, files and registered models. The only user of MLflow."""

from .settings import TrackingSettings
from .tracker import STATUSES, Tracker, replay_spool

__all__ = ["STATUSES", "Tracker", "TrackingSettings", "replay_spool"]
