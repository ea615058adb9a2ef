"""Reads the file of a label map: JSON or YAML, plain values only."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ...spaces.errors import BadInput, CorruptFile

_ENDINGS = (".json", ".yaml", ".yml")


def read_label_file(path: Path) -> dict[Any, Any]:
    """The one mapping that a file holds.

    Raises:
        CorruptFile: not UTF-8, not JSON or YAML as its ending says, or a key given twice.
        BadInput: another ending, no such file, or no mapping in it.
    """
    path = path.expanduser()
    if path.suffix.lower() not in _ENDINGS:
        raise BadInput(f"labels: {path}; give a file that ends in {', '.join(_ENDINGS)}.")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8.") from None
    try:
        value = _parse_json(text) if path.suffix.lower() == ".json" else _parse_yaml(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        kind = path.suffix[1:].upper()
        raise CorruptFile(f"{path}: not {kind}: {' '.join(str(error).split())}.") from None
    if not isinstance(value, dict):
        raise BadInput(f"{path}: holds a {type(value).__name__}; give `classes` and `map`.")
    return value


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


def _parse_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_StrictLoader)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} is given twice")
    return found


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a repeated key instead of taking the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            names = [key.value for key, _ in node.value]
            twice = next((n for n in names if names.count(n) > 1), names[0])
            raise ValueError(f"line {node.start_mark.line + 1}: {twice!r} is given twice")
        return found
