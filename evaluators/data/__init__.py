"""Labelled images, where they come from, and how they are cut into disjoint splits."""

from .cache import DataCache
from .dataset import ImageData
from .digits import load_digits
from .overlap import Overlap, check_disjoint
from .parquet import ParquetImages, load_parquet
from .preprocessing import PRESETS, Preprocessing
from .settings import load_splits, load_stream
from .splits import Splits, digits_splits, foreign_splits, held_out_digest, parquet_splits
from .stream import ImageStream

__all__ = [
    "PRESETS",
    "DataCache",
    "ImageData",
    "ImageStream",
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
    "load_stream",
    "parquet_splits",
]
