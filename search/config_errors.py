"""What is wrong with a config, in a person's words: one line per field, all at once."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ..spaces.errors import BadInput

_NOT_A_PROBLEM_OF_ITS_OWN = "default_factory_not_called"


def explain(
    error: ValidationError, schema: type[BaseModel], given: Mapping[Any, Any], source: str
) -> BadInput:
    """Build one error that lists every wrong field with its dotted path.

    Args:
        error: what the schema said about `given`.
        schema: the root model; the descriptions of its fields say what is allowed.
        given: the mapping that was refused.
        source: file (or option) that it came from.
    """
    lines: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        if problem["type"] == _NOT_A_PROBLEM_OF_ITS_OWN:
            continue
        place = _locate(problem, schema, given)
        # Each member of a union complains about the same value; the first one is enough.
        lines.setdefault(place.path, f"{place.path}: {_describe(problem, place)}")
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return BadInput("\n  ".join([f"{source}: {count}", *lines.values()]))


@dataclass(frozen=True, slots=True)
class _Place:
    """A field in the schema together with what the file holds there."""

    path: str
    section: type[BaseModel]
    field: FieldInfo | None
    value: Any


def _locate(problem: ErrorDetails, schema: type[BaseModel], given: Mapping[Any, Any]) -> _Place:
    section: type[BaseModel] = schema
    field: FieldInfo | None = None
    value: Any = given
    inside: type[BaseModel] | None = schema
    path: list[str] = []
    for part in problem["loc"]:
        if inside is not None:
            section, field = inside, inside.model_fields.get(str(part))
            inside = _section_of(field)
        elif not _holds(value, part):
            continue  # the name of a union's member, not a place in the file
        path.append(str(part))
        value = value[part] if _holds(value, part) else None
    if _is_about_key(problem):
        path[-1] = shown(problem["input"])  # the location spells true as 1
    inner = problem.get("ctx", {}).get("inner")
    return _Place(".".join([*path, inner] if inner else path), section, field, value)


def _is_about_key(problem: ErrorDetails) -> bool:
    return problem["type"] == "invalid_key" or problem["loc"][-1:] == ("[key]",)


def _section_of(field: FieldInfo | None) -> type[BaseModel] | None:
    kind = None if field is None else field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _holds(value: Any, part: int | str) -> bool:
    if isinstance(value, Mapping):
        return part in value
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return is_list and isinstance(part, int) and part < len(value)


def _describe(problem: ErrorDetails, place: _Place) -> str:
    kind = problem["type"]
    if _is_about_key(problem):
        return "a key must be text; put it in quotes."
    if kind == "extra_forbidden":
        return _unknown_key(str(problem["loc"][-1]), place.section)
    if kind == "missing":
        return f"missing; give {_allowed(place.field)}."
    if kind in ("value_error", "incomplete"):
        return problem["msg"].removeprefix("Value error, ")
    return f"got {shown(place.value)}; allowed: {_allowed(place.field)}.{_number_hint(place.value)}"


def _unknown_key(key: str, section: type[BaseModel]) -> str:
    names = list(section.model_fields)
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown key.{hint} Allowed: {', '.join(names)}."


def _allowed(field: FieldInfo | None) -> str:
    if field is not None and field.description:
        return field.description
    section = _section_of(field)
    return f"a mapping with the keys {', '.join(section.model_fields)}" if section else "text"


def _number_hint(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return " It was read as text: leave out the quotes, and write 1.0e-3 for 1e-3."


def shown(value: Any) -> str:
    """Spell a value as a YAML file would, shortened."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return reprlib.repr(value)
