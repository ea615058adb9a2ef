"""The report of a run: one self-contained HTML page, and the same scatter as a static picture."""

from .build import build_report, front_svg

__all__ = ["build_report", "front_svg"]
