"""The commented example of a config tells the truth."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from spikefront.search.config import Config

EXAMPLE = Path(__file__).parents[2] / "examples" / "search.yaml"


def _example_lines() -> Iterator[tuple[str, str]]:
    """Dotted path and comment of every field of the example."""
    path: list[str] = []
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        found = re.match(r"( *)(\w+):", line)
        if found:
            path[len(found[1]) // 2 :] = [found[2]]
            yield ".".join(path), line.partition("  # ")[2]


def _at(data: Mapping[str, Any], path: str) -> Any:
    value: Any = data
    for part in path.split("."):
        value = value[part]
    return value


def test_the_example_loads_and_shows_every_field_with_a_comment():
    config = Config.load(EXAMPLE)
    comments = dict(_example_lines())
    assert all(comments.values())
    shown = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    full = yaml.safe_load(config.to_yaml())
    assert _paths(shown) == _paths(full) == set(comments)


def test_the_defaults_that_the_example_names_are_the_defaults():
    defaults = yaml.safe_load(Config.parse("model: {zoo: null, checkpoint: x}").to_yaml())
    defaults["model"]["checkpoint"] = None
    defaults["cluster"]["window"] = None  # settled as a number when it is read
    shown = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    told = {}
    for path, comment in _example_lines():
        found = re.search(r"\(default: (.*)\)$", comment)
        if found:
            as_shown = found[1] == "as here"
            told[path] = _at(shown, path) if as_shown else yaml.safe_load(found[1])
    assert told == {path: _at(defaults, path) for path in told}
    leaves = {path for path in _paths(shown) if not isinstance(_at(shown, path), dict)}
    assert leaves - set(told) == {"name", "data.name"}


def _paths(data: Mapping[str, Any], above: str = "") -> set[str]:
    found = set()
    for key, value in data.items():
        found.add(above + key)
        if isinstance(value, dict):
            found |= _paths(value, f"{above}{key}.")
    return found
