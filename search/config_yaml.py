"""Reading a YAML file that a person wrote: safe, strict, and with the place of every mistake."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ..spaces.errors import BadInput

_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#@\s]*:[^/?#@\s]+@")
"""A URL with a user's name and password; `abfs://container@account` has neither."""


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        BadInput: it is missing, not a file, not readable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8.") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}).") from None


def parse_mapping(text: str, source: str) -> dict[Any, Any]:
    """Read the one mapping that a YAML text holds; `source` names it in messages.

    Raises:
        BadInput: the text is not YAML, repeats a key, holds something else than a mapping, or a
            URL with a password.
    """
    try:
        # A subclass of SafeLoader: builds plain values only.
        data = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        raise BadInput(_located(error, source)) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"{source}: not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(data, dict):
        got = "nothing" if data is None else f"a {type(data).__name__}"
        raise BadInput(f"{source}: holds {got}; it must be a mapping of sections, `key: value`.")
    return data


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses repeated keys and locates values that cannot be built."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[tuple[str, str], yaml.Node] = {}
        for key_node, _ in node.value:
            # Merge keys (<<) may be repeated on purpose.
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.endswith(":merge"):
                continue
            identity = (key_node.tag, key_node.value)
            if identity in seen:
                first = seen[identity].start_mark.line + 1
                raise yaml.constructor.ConstructorError(
                    problem=f"the key '{key_node.value}' is given twice (first on line {first})",
                    problem_mark=key_node.start_mark,
                )
            seen[identity] = key_node
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        if _PASSWORD.match(node.value):
            # Configs are kept in runs, checkpoints and MLflow, where others read them.
            raise yaml.constructor.ConstructorError(
                problem="this URL holds a password, which would be kept with the run; give it in "
                "the environment, for instance as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
                problem_mark=node.start_mark,
            )
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError):  # e.g. 2024-99-99, which YAML takes for a date
            raise yaml.constructor.ConstructorError(
                problem=f"cannot read the value '{node.value}'; put text in quotes",
                problem_mark=node.start_mark,
            ) from None


def _located(error: yaml.MarkedYAMLError, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    place = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
    context = f" ({error.context})" if error.context else ""
    return f"{source}:{place} {error.problem}{context}."
