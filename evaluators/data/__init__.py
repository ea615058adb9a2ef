"""Labelled images, where they come from, and how they are cut into disjoint splits."""

from .dataset import ImageData
from .digits import load_digits
from .overlap import Overlap, check_disjoint
from .parquet import ParquetImages, load_parquet
from .preprocessing import PRESETS, Preprocessing
from .settings import load_splits
from .splits import Splits, digits_splits, foreign_splits, held_out_digest, parquet_splits

__all__ = [
    "PRESETS",
    "ImageData",
    "Overlap",
    "ParquetImages",
    "Preprocessing",
    "Splits",
    "check_disjoint",
    "digits_splits",
    "foreign_splits",
    "held_out_digest",
    "load_digits",
    "load_parquet",
    "load_splits",
    "parquet_splits",
]
