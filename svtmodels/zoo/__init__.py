"""Trained networks that come with the package; each card says how it was trained."""

from __future__ import annotations

from pathlib import Path

from ...spaces.errors import unknown_name

_FOLDER = Path(__file__).parent


def zoo_names() -> tuple[str, ...]:
    """Names of all networks of the zoo."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.safetensors")))


def zoo_path(name: str) -> Path:
    """Checkpoint of a network of the zoo.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in zoo_names():
        raise unknown_name("network of the zoo", name, zoo_names())
    return _FOLDER / f"{name}.safetensors"
