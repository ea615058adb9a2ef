"""What is in a model's file: architecture, sites, bytes by stage; no data is touched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..spaces.errors import BadInput
from .checkpoint import load_checkpoint
from .costs import parent_bytes
from .network import Network
from .packed.layout import weight_bytes
from .packed.reader import load_packed, read_manifest
from .packed.writer import MANIFEST_FILE
from .parts.synapse import parameters_of
from .zoo import zoo_names, zoo_path


def load_model(name: str, known: Mapping[str, Any] | None = None) -> Network:
    """Network of a packed folder, a checkpoint file or the zoo, whichever `name` is.

    Args:
        name: path or name.
        known: what a foreign checkpoint cannot tell.

    Raises:
        BadInput: it is none of them.
    """
    path = Path(name)
    if (path / MANIFEST_FILE).is_file():
        return load_packed(path)
    if path.is_file():
        return load_checkpoint(path, **(known or {}))
    if name in zoo_names():
        return load_checkpoint(zoo_path(name))
    raise BadInput(
        f"{name} is no packed folder, no checkpoint file and no network of the zoo "
        f"({', '.join(zoo_names())})."
    )


def inspect_model(name: str, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Facts of a stored model, JSON-ready.

    Args:
        name: packed folder, checkpoint file or name of the zoo.
        known: what a foreign checkpoint cannot tell.

    Raises:
        BadInput: not readable, or something must be told by name.
    """
    network = load_model(name, known)
    packed = (Path(name) / MANIFEST_FILE).is_file()
    return {
        "model": name,
        "architecture": network.architecture,
        "arguments": network.arguments,
        "time_steps": network.time_steps,
        "input_shape": list(network.input_shape),
        "classes": network.classes,
        "parameters": sum(p.numel() for p in network.parameters()),
        "float32_bytes": parent_bytes(network) if not packed else None,
        "packed_bytes": read_manifest(name)["bytes"] if packed else None,
        "candidate": network.candidate.to_dict(),
        "weight_bytes_by_stage": _bytes_by_stage(network),
        "sites": [
            {"kind": s.kind.value, "name": s.name, "size": s.size, "stage": s.stage}
            for s in network.sites
        ],
        "accuracy_test": network.card.get("accuracy_test"),
    }


def _bytes_by_stage(network: Network) -> dict[str, int]:
    """Bytes of the weights alone, as the packed file holds them."""
    stages: dict[str, int] = defaultdict(int)
    stored = {
        part.name: (network.weight_bits(synapse.name), network.kept_numbers.get(synapse.name))
        for synapse in network.declaration.synapses
        for part in (synapse, *synapse.links)
    }
    for synapse, module in network.stored():
        count = parameters_of(module)[0].numel()
        bits, kept = stored[synapse.name]
        stages[synapse.stage] += weight_bytes(count, bits, kept)
    return dict(stages)
