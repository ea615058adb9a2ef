"""From the `data` section of a config to splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...spaces.errors import BadInput, unknown_name
from .events import event_splits
from .folder_splits import folder_splits
from .slices import Report
from .splits import Splits, digits_splits, foreign_splits, parquet_splits, parquet_stream
from .stream import ImageStream

_STREAM_KEYS = frozenset({"stream", "crop_scale", "shuffle_buffer"})
_NUMBERS = frozenset({"calibration", "search", "seed", "size", "channels", "resize"})
_TYPES: Mapping[str, type] = {
    **dict.fromkeys(_NUMBERS, int),
    "shuffle_buffer": int,
    "crop_scale": float,
    "stream": bool,
    "test_images": int,
}
"""Types of the settings that are no strings."""

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}
_DIGITS_KEYS = frozenset({"seed", "size"})
_PATHS = frozenset({"train", "test", "validation"})
_LABELS = "labels"
_COLUMNS = frozenset({"image_column", "label_column"})
_PARQUET_KEYS = _NUMBERS | _PATHS | _STREAM_KEYS | _COLUMNS | {_LABELS}
_FOLDER_KEYS = _NUMBERS | _PATHS | {"root", "test_images", _LABELS}
_KEYS: Mapping[str, frozenset[str]] = {
    "digits": _DIGITS_KEYS,
    "folder": _FOLDER_KEYS,
    "parquet": _PARQUET_KEYS,
}

_EVENTS = "events"
"""Its settings and their checks are in its own package."""

_FOREIGN_STREAM = (
    "stream with validation: a foreign checkpoint is not trained here; leave stream out, or give "
    "train and test."
)


def load_splits(
    settings: Mapping[str, Any],
    *,
    with_train: bool = True,
    with_test: bool = True,
    report: Report | None = None,
) -> Splits:
    """Load the splits that a config's `data` section describes.

    One of ``{"name": "digits"}``, ``{"name": "folder", "root": …}`` (class folders of images; see
    `folder_splits`), ``{"name": "parquet", "train": …, "test": …}`` (a network of
    our own training) and ``{"name": "parquet", "validation": …}`` (a foreign checkpoint), with
    any of the arguments of `digits_splits`, `parquet_splits` or `foreign_splits`; or
    ``{"name": "events", "path": …}`` with the settings of `event_splits`. None stands
    for the default; relative paths start at the current folder, and URLs are read through
    pyarrow. With ``stream: true`` the train split is empty: `load_stream` has its images.

    Args:
        settings: the section.
        with_train: False leaves training images of Parquet files undecoded.
        with_test: False leaves test images of Parquet files undecoded.
        report: called while images of Parquet files are decoded.

    Raises:
        BadInput: an unknown name or key, a missing or contradictory one, or a wrong type; and
            what the functions named above raise.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    name = given.pop("name", None)
    if name == _EVENTS:
        return event_splits(given, with_train=with_train, with_test=with_test)
    if name not in _KEYS:
        raise unknown_name("data set", str(name), {*_KEYS, _EVENTS})
    _check(given, _KEYS[name])
    if name == "digits":
        return digits_splits(**given)
    if name == "folder":
        return folder_splits(**given, with_train=with_train, with_test=with_test)
    streamed = _pop_stream(given)
    if "validation" in _paths(given):
        if streamed is not None:
            raise BadInput(_FOREIGN_STREAM)
        path = given.pop("validation")
        return foreign_splits(path, **given, with_test=with_test, report=report)
    train, test = given.pop("train"), given.pop("test")
    loaded = with_train and streamed is None
    return parquet_splits(
        train, test, **given, with_train=loaded, with_test=with_test, report=report
    )


def load_stream(settings: Mapping[str, Any]) -> ImageStream | None:
    """Training images as a stream, where the settings ask for one; else None.

    ``stream: true`` asks; `crop_scale` and `shuffle_buffer` are those of `ImageStream`. The
    images are those of the train split that `load_splits` would load without it.

    Args:
        settings: the `data` section.

    Raises:
        BadInput, CorruptFile: as `load_splits`, and what `ImageStream` refuses.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    if given.pop("name", None) != "parquet":
        return None
    _check(given, _PARQUET_KEYS)
    options = _pop_stream(given)
    if options is None:
        return None
    if _paths(given) == ["validation"]:
        raise BadInput(_FOREIGN_STREAM)
    return parquet_stream(given.pop("train"), given.pop("test"), **given, **options)


def _pop_stream(given: dict[str, Any]) -> dict[str, Any] | None:
    """Take the settings of a stream out; None where no stream is asked for."""
    options = {key: given.pop(key) for key in _STREAM_KEYS & given.keys()}
    if options.pop("stream", False):
        return options
    if options:
        raise BadInput(f"{' and '.join(sorted(options))} without stream: true; a stream has it.")
    return None


def _paths(given: Mapping[str, Any]) -> list[str]:
    paths = sorted(_PATHS & given.keys())
    if paths in (["validation"], ["test", "train"]):
        return paths
    raise BadInput(
        f"parquet data with {' and '.join(paths) or 'no paths'}: give train and test (a network "
        "of your own training), or validation alone (a foreign checkpoint)."
    )


def _check(given: Mapping[str, Any], allowed: Iterable[str]) -> None:
    for key, value in given.items():
        if key not in allowed:
            raise unknown_name("data setting", key, {"name", *allowed})
        if key == _LABELS and isinstance(value, Mapping):
            continue
        wanted = _TYPES.get(key, str)
        fits = type(value) in (int, float) if wanted is float else type(value) is wanted
        if not fits:
            raise BadInput(f"data setting {key!r} is {value!r}; give {_KINDS[wanted]}.")
