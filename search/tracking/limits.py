"""Fits names and values into the limits of MLflow."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

MAX_METRICS = 1000
"""Metric values in one batch."""

_MAX_PARAMS = 100
_MAX_BATCH_BYTES = 900_000
_MAX_NAME = 250
_MAX_PARAM = 6000
_MAX_TAG = 8000
_ELLIPSIS = "..."
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """Params of a nested config: ``{"a": {"b": 1}}`` gives ``{"a.b": "1"}``; lists become JSON."""
    return {clean_name(name): _cut(_text(value), _MAX_PARAM) for name, value in _leaves(config, "")}


def param_batches(params: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Params in batches of at most 100 that also stay under the size of one request."""
    batch: dict[str, str] = {}
    size = 0
    for name, value in params.items():
        weight = len(json.dumps([name, value]))
        if batch and (len(batch) == _MAX_PARAMS or size + weight > _MAX_BATCH_BYTES):
            yield batch
            batch, size = {}, 0
        batch[name] = value
        size += weight
    if batch:
        yield batch


def clean_name(name: str) -> str:
    """Name of a param or metric, with what MLflow does not allow there replaced."""
    return _NOT_IN_NAMES.sub("_", name)[:_MAX_NAME]


def clean_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as text, long values cut."""
    return {clean_name(name): _cut(_text(value), _MAX_TAG) for name, value in tags.items()}


def clean_metrics(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Metrics that are known: None and NaN are left out."""
    known = {clean_name(name): float(value) for name, value in metrics.items() if value is not None}
    return {name: value for name, value in known.items() if not math.isnan(value)}


def _leaves(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - len(_ELLIPSIS)] + _ELLIPSIS
