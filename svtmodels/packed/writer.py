"""Writes a network as a packed folder: `model.safetensors`, `manifest.json`, `golden.safetensors`.

The folder is complete or absent: everything is written beside it and renamed at the end.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor

from ...spaces.errors import BadInput
from ..declaration import Synapse
from ..network import Network
from ..parts.short_vectors import SHORT_TYPES
from ..parts.synapse import (
    ChannelAffine,
    ChannelNorm,
    CompositeSynapse,
    QuantisedSynapse,
    parameters_of,
)
from ..surgery.fixed_point import FIXED
from .arithmetic import describe_arithmetic
from .golden import golden_vectors
from .layout import ALIGNMENT, padded
from .neurons import describe_neurons, neuron_constants
from .vectors import Vector, float32, float_entry, pack_vectors
from .weights import Tensors, pack_weight

FORMAT = "spikefront-packed"
SCHEMA = 4
MODEL_FILE = "model.safetensors"
MANIFEST_FILE = "manifest.json"
GOLDEN_FILE = "golden.safetensors"
NEURONS_TENSOR = "neurons"


def save_packed(
    network: Network,
    folder: Path | str,
    *,
    golden_inputs: Tensor | None = None,
    record: Mapping[str, Any] | None = None,
) -> Path:
    """Write a network in float32, as it computes in eval mode.

    Args:
        network: trained or compressed.
        folder: replaced if it holds a packed network; any other content is left alone.
        golden_inputs: a few inputs [B, ...] whose logits and spike counts are kept, so that a
            port can be checked bit for bit; two fixed random ones if None.
        record: what is known of the network (accuracies, costs, preprocessing, classes, …); goes
            into the manifest.

    Returns:
        The folder.

    Raises:
        BadInput: something else than a packed network is in the way.
    """
    folder = Path(folder)
    _check_replaceable(folder)
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    arrays, entries = _tensors(network)
    model = _aligned(arrays)
    golden = save(golden_vectors(network, golden_inputs))
    (temporary / MODEL_FILE).write_bytes(model)
    (temporary / GOLDEN_FILE).write_bytes(golden)
    manifest = {
        "format": FORMAT,
        "schema": SCHEMA,
        **_description(network),
        "tensors": entries,
        "bytes": sum(array.nbytes for array in arrays.values()),
        "sha256": {MODEL_FILE: _sha256(model), GOLDEN_FILE: _sha256(golden)},
        "record": dict(record or {}),
    }
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    (temporary / MANIFEST_FILE).write_text(text)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
    return folder


def _check_replaceable(folder: Path) -> None:
    if not folder.exists() or (folder / MANIFEST_FILE).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise BadInput(
            f"{folder} exists and is no packed folder; it would be deleted. Give another place."
        )


def container_bytes(folder: Path | str) -> int:
    """Bytes of all files of a packed folder, manifest and golden vectors included."""
    return sum(file.stat().st_size for file in Path(folder).iterdir())


def _description(network: Network) -> dict[str, Any]:
    fixed = network.arithmetic == FIXED
    return {
        "architecture": network.architecture,
        "arguments": network.arguments,
        "widths": network.widths,
        "kept_tokens": network.kept_tokens,
        "token_rule": network.token_rule.to_dict(),
        "kept_channels": {n: kept.tolist() for n, kept in network.kept_channels.items()},
        "time_steps": network.time_steps,
        "candidate": network.candidate.to_dict(),
        "key": network.candidate.key,
        "input_shape": list(network.input_shape),
        "num_classes": network.classes,
        "neurons": describe_neurons(network),
        "batch_norm": "folded into scale and bias",
        "alignment": ALIGNMENT,
        # Float32 goes without saying: folders from before there was a choice say nothing.
        **({"arithmetic": describe_arithmetic(network)} if fixed else {}),
        **({"vectors": network.vectors} if network.vectors in SHORT_TYPES else {}),
    }


def _tensors(network: Network) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays of the file, one-dimensional and padded, and what the manifest says of each."""
    arrays: dict[str, NDArray[Any]] = {}
    entries: dict[str, Any] = {}
    for synapse in network.declaration.synapses:
        for name, array, entry in _synapse_tensors(network, synapse):
            arrays[name] = _pad(array)
            entries[name] = entry
    for path in (scale.path for scale in network.declaration.scales):
        scale = float32(network.get_parameter(path))
        arrays[path], entries[path] = _pad(scale), float_entry(scale)
    constants = neuron_constants(network)
    arrays[NEURONS_TENSOR] = _pad(np.array(constants, np.float32).reshape(-1))
    entries[NEURONS_TENSOR] = {"dtype": "float32", "shape": [len(constants), 2]}
    return arrays, entries


def _synapse_tensors(
    network: Network, synapse: Synapse, bits: int | None = None
) -> list[tuple[str, NDArray[Any], dict[str, Any]]]:
    """Tensors of a synapse; `bits` of the chain that it is a link of, if it is one."""
    module = network.get_submodule(synapse.weight)
    kept = network.kept_numbers.get(synapse.name)
    if isinstance(module, QuantisedSynapse):
        tensors = pack_weight(synapse.name, module.codes.numpy(), module.bits, kept)
        tensors[f"{synapse.name}.codes"][1].update(
            {"scale_axis": 0, "input_grid": module.grid, "input_limit": module.max_input}
        )
        vectors = [("scale", module.scale), ("bias", module.bias)]
        return [*_listed(tensors), pack_vectors(synapse.name, vectors, network.vectors)]
    out: list[tuple[str, NDArray[Any], dict[str, Any]]] = []
    vectors: list[Vector] = []
    bits = network.weight_bits(synapse.name) if bits is None else bits
    if isinstance(module, CompositeSynapse):
        out = [entry for link in synapse.links for entry in _synapse_tensors(network, link, bits)]
    else:
        weight, bias = parameters_of(module)
        out = _listed(pack_weight(synapse.name, float32(weight), bits, kept))
        vectors = [("synapse_bias", bias)] if bias is not None else []
    if synapse.norm is not None:
        norm = network.get_submodule(synapse.norm)
        assert isinstance(norm, ChannelNorm | ChannelAffine)
        vectors += list(zip(("scale", "bias"), norm.folded(), strict=True))
    return [*out, pack_vectors(synapse.name, vectors, "float32")] if vectors else out


def _listed(tensors: Tensors) -> list[tuple[str, NDArray[Any], dict[str, Any]]]:
    return [(name, array, entry) for name, (array, entry) in tensors.items()]


def _pad(array: NDArray[Any]) -> NDArray[Any]:
    missing = (padded(array.nbytes) - array.nbytes) // array.itemsize
    return np.concatenate([array, np.zeros(missing, array.dtype)])


def _aligned(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A safetensors file whose data starts at a multiple of the alignment.

    The header is filled with spaces, as the format allows. A second metadata entry would do as
    well, but safetensors writes several in random order, and equal networks must give equal files.
    """
    plain = save(dict(arrays), {"format": FORMAT})
    start = 8 + int.from_bytes(plain[:8], "little")
    header = plain[8:start] + b" " * (-start % ALIGNMENT)
    return len(header).to_bytes(8, "little") + header + plain[start:]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
