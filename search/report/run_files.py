"""Reads a run's folder: everything that a report is made of, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ...spaces.errors import BadInput, CorruptFile
from .evaluation_table import EvaluationTable
from .front_schema import Front, Member


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What a run left behind.

    Attributes:
        name: name of the run's folder.
        front: front.json.
        table: evaluations.parquet.
        config_text: config.yaml, word for word.
        config: the same, parsed.
        manifests: manifest of each packed member, by key; members without one are absent.
    """

    name: str
    front: Front
    table: EvaluationTable
    config_text: str
    config: Mapping[str, Any]
    manifests: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> RunFiles:
        """Files of a run's folder.

        Raises:
            BadInput: the folder or a file is missing.
            CorruptFile: a file does not hold what it must.
        """
        if not folder.is_dir():
            raise BadInput(f"{folder}: no such folder; give the folder of a run (runs/<name>).")
        front = _read_front(folder / "front.json")
        config_text = _read_text(folder / "config.yaml")
        return cls(
            name=folder.resolve().name,
            front=front,
            table=EvaluationTable.read(folder / "evaluations.parquet"),
            config_text=config_text,
            config=_parse_config(folder / "config.yaml", config_text),
            manifests=_read_manifests(folder, front.members),
        )


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise BadInput(f"{path}: not found; a run's folder holds it once a search has ended.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{path}: not UTF-8 text ({error}).") from error


def _read_front(path: Path) -> Front:
    try:
        front = Front.model_validate_json(_read_text(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CorruptFile(
            f"{path}: {where}: {first['msg']} ({error.error_count()} problems in all)."
        ) from error
    for member in front.members:
        _check_interval(path, front, member)
    return front


def _check_interval(path: Path, front: Front, member: Member) -> None:
    """Refuse an interval of the opposite sign: it would turn a loss into a gain."""
    parent_accuracy = front.parent.accuracy_test
    if member.test_interval is None or member.accuracy_test is None or parent_accuracy is None:
        return
    low, high = member.test_interval
    difference = member.accuracy_test - parent_accuracy
    if not low - 1e-6 <= difference <= high + 1e-6:
        raise CorruptFile(
            f"{path}: member {member.key}: test_interval [{low:.4f}, {high:.4f}] does not hold "
            f"its own difference {difference:.4f}; it must be of member minus parent."
        )


def _parse_config(path: Path, text: str) -> Mapping[str, Any]:
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CorruptFile(f"{path}: not YAML ({error}).") from error
    if not isinstance(config, dict):
        raise CorruptFile(f"{path}: holds {type(config).__name__}; a config is a mapping.")
    return config


def _read_manifests(folder: Path, members: tuple[Member, ...]) -> dict[str, Mapping[str, Any]]:
    manifests = {}
    for member in members:
        path = folder / "members" / member.key / "manifest.json"
        if not path.is_file():
            continue
        try:
            manifest = json.loads(_read_text(path))
        except json.JSONDecodeError as error:
            raise CorruptFile(f"{path}: not JSON ({error}).") from error
        if not isinstance(manifest, dict):
            raise CorruptFile(f"{path}: holds {type(manifest).__name__}; it must be an object.")
        manifests[member.key] = manifest
    return manifests
