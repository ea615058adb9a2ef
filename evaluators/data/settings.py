"""From the `data` section of a config to splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...spaces.errors import BadInput, unknown_name
from .splits import Splits, digits_splits, foreign_splits, parquet_splits

_NUMBERS = frozenset({"calibration", "search", "seed", "size", "channels"})
_DIGITS_KEYS = frozenset({"seed", "size"})
_PATHS = frozenset({"train", "test", "validation"})
_PARQUET_KEYS = _NUMBERS | _PATHS | {"image_column", "label_column"}
_KEYS: Mapping[str, frozenset[str]] = {"digits": _DIGITS_KEYS, "parquet": _PARQUET_KEYS}


def load_splits(
    settings: Mapping[str, Any], *, with_train: bool = True, with_test: bool = True
) -> Splits:
    """Load the splits that a config's `data` section describes.

    One of ``{"name": "digits"}``, ``{"name": "parquet", "train": …, "test": …}`` (a network of
    our own training) and ``{"name": "parquet", "validation": …}`` (a foreign checkpoint), with
    any of the arguments of `digits_splits`, `parquet_splits` or `foreign_splits`. None stands
    for the default; relative paths start at the current folder.

    Args:
        settings: the section.
        with_train: False leaves training images of Parquet files undecoded.
        with_test: False leaves test images of Parquet files undecoded.

    Raises:
        BadInput: an unknown name or key, a missing or contradictory one, or a wrong type; and
            what the functions named above raise.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    name = given.pop("name", None)
    if name not in _KEYS:
        raise unknown_name("data set", str(name), _KEYS)
    _check(given, _KEYS[name])
    if name == "digits":
        return digits_splits(**given)
    paths = sorted(_PATHS & given.keys())
    if paths == ["validation"]:
        return foreign_splits(given.pop("validation"), **given, with_test=with_test)
    if paths == ["test", "train"]:
        train, test = given.pop("train"), given.pop("test")
        return parquet_splits(train, test, **given, with_train=with_train, with_test=with_test)
    raise BadInput(
        f"parquet data with {' and '.join(paths) or 'no paths'}: give train and test (a network "
        "of your own training), or validation alone (a foreign checkpoint)."
    )


def _check(given: Mapping[str, Any], allowed: Iterable[str]) -> None:
    for key, value in given.items():
        if key not in allowed:
            raise unknown_name("data setting", key, {"name", *allowed})
        wanted = int if key in _NUMBERS else str
        if not isinstance(value, wanted) or isinstance(value, bool):
            kind = "a whole number" if wanted is int else "a string"
            raise BadInput(f"data setting {key!r} is {value!r}; give {kind}.")
