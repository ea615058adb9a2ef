"""Checking, reading and damaging packed folders; what reads does without the code under test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikefront.svtmodels import Network, load_packed, save_packed

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


def check_kept_bit_for_bit(built: Network, x: Tensor, folder: Path) -> tuple[Path, Network]:
    """Saved and loaded, a network answers the same, and is saved as the same files again.

    Returns:
        The packed folder, and the network loaded from it.
    """
    first = save_packed(built, folder / "first")
    loaded = load_packed(first)
    with torch.no_grad():
        assert torch.equal(loaded(x), built(x))
    again = save_packed(loaded, folder / "again")
    assert (again / MODEL).read_bytes() == (first / MODEL).read_bytes()
    assert manifest_of(again) == manifest_of(first)
    return first, loaded


def sign(folder: Path) -> None:
    """Write the checksums of the files as they are now into the manifest."""

    def update(manifest: dict[str, Any]) -> None:
        for name in (MODEL, GOLDEN):
            manifest["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()

    edit_manifest(folder, update)
