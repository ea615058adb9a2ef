"""Reading and damaging packed folders without the code under test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODEL, MANIFEST, GOLDEN = "model.safetensors", "manifest.json", "golden.safetensors"


def header_of(file: Path) -> tuple[dict[str, Any], int]:
    """Header of a safetensors file, and where its data starts."""
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), 8 + length


def spans_of(file: Path) -> dict[str, tuple[int, int]]:
    """First and last byte (exclusive) of every tensor in a safetensors file."""
    header, start = header_of(file)
    return {
        name: (start + entry["data_offsets"][0], start + entry["data_offsets"][1])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest as plain JSON."""
    return json.loads((folder / MANIFEST).read_text())


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest in place."""
    manifest = manifest_of(folder)
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def sign(folder: Path) -> None:
    """Write the checksums of the files as they are now into the manifest."""

    def update(manifest: dict[str, Any]) -> None:
        for name in (MODEL, GOLDEN):
            manifest["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()

    edit_manifest(folder, update)
