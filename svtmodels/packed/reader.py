"""Loads a packed folder; nothing in it is ever executed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load
from torch import Tensor, nn

from ...spaces.candidate import Candidate
from ...spaces.errors import BadInput, CorruptFile
from ..declaration import Synapse
from ..network import Network
from ..official import build_official
from ..parts.synapse import ChannelAffine, Conv, QuantisedSynapse
from .bitstream import unpack_bits
from .layout import code_bytes
from .writer import FORMAT, GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE, NEURONS_TENSOR, SCHEMA

_Arrays = dict[str, NDArray[Any]]


def load_packed(folder: Path | str) -> Network:
    """Network of a packed folder, in eval mode; its logits are bit for bit those that were saved.

    Raises:
        BadInput: no such folder, or a newer format.
        CorruptFile: a file is missing, truncated or altered.
    """
    manifest, arrays = read_packed(folder)
    try:
        with torch.device("meta"):
            network = build_official(
                manifest["architecture"],
                manifest["arguments"],
                widths=manifest["widths"],
                kept_tokens=manifest["kept_tokens"],
                idle=False,
            )
        network.time_steps = manifest["time_steps"]
        network.candidate = Candidate.from_record(manifest["candidate"])
        network.kept_channels = {
            name: torch.tensor(kept) for name, kept in manifest["kept_channels"].items()
        }
        network.card = manifest["record"]
        for synapse in network.declaration.synapses:
            _fill(network, synapse, manifest["tensors"], arrays)
        _set_neurons(network, manifest, arrays)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CorruptFile(f"{folder}: manifest and tensors do not fit ({error!r}).") from error
    return network.eval()


def read_packed(folder: Path | str) -> tuple[dict[str, Any], _Arrays]:
    """Manifest and arrays of a packed folder, checked against their checksums.

    Raises:
        BadInput: no such folder, or a newer format.
        CorruptFile: a file is missing, truncated or altered.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    return manifest, _checked(folder, MODEL_FILE, manifest)


def read_golden(folder: Path | str) -> _Arrays:
    """Golden vectors of a packed folder: ``inputs``, ``logits``, ``spikes``.

    Raises:
        BadInput: no such folder, or a newer format.
        CorruptFile: a file is missing, truncated or altered.
    """
    folder = Path(folder)
    return _checked(folder, GOLDEN_FILE, read_manifest(folder))


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """Manifest of a packed folder.

    Raises:
        BadInput: no such folder, or a newer format.
        CorruptFile: no manifest of ours.
    """
    path = Path(folder) / MANIFEST_FILE
    if not path.is_file():
        raise BadInput(f"{folder} is no packed folder: it holds no {MANIFEST_FILE}.")
    try:
        manifest = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorruptFile(f"{path} is not JSON: {error}.") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CorruptFile(f"{path} is not a manifest of the format {FORMAT!r}.")
    if manifest.get("schema") != SCHEMA:
        raise BadInput(f"{path} has schema {manifest.get('schema')}; this version reads {SCHEMA}.")
    return manifest


def _checked(folder: Path, name: str, manifest: dict[str, Any]) -> _Arrays:
    path = folder / name
    if not path.is_file():
        raise CorruptFile(f"{path} is missing.")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != manifest["sha256"].get(name):
        raise CorruptFile(f"{path} was truncated or altered: its checksum differs.")
    try:
        return load(data)
    except SafetensorError as error:
        raise CorruptFile(f"{path}: {error}.") from None


def _fill(network: Network, synapse: Synapse, entries: dict[str, Any], arrays: _Arrays) -> None:
    vectors = _vectors(synapse, entries, arrays)
    module = network.get_submodule(synapse.weight)
    if f"{synapse.name}.codes" in entries:
        quantised = _quantised(module, synapse, entries, arrays, vectors)
        network.set_submodule(synapse.weight, quantised)
        if synapse.norm is not None:
            network.set_submodule(synapse.norm, nn.Identity())
        return
    name = f"{synapse.name}.weight"
    weight = _shaped(arrays[name], entries[name]["shape"])
    if weight.shape != module.weight.shape:
        raise ValueError(f"{name} has shape {tuple(weight.shape)}")
    module.weight = nn.Parameter(weight)
    if module.bias is not None:
        module.bias = nn.Parameter(vectors["synapse_bias"])
    if synapse.norm is not None:
        network.set_submodule(synapse.norm, ChannelAffine(vectors["scale"], vectors["bias"]))


def _quantised(
    module: nn.Module,
    synapse: Synapse,
    entries: dict[str, Any],
    arrays: _Arrays,
    vectors: dict[str, Tensor],
) -> QuantisedSynapse:
    name = f"{synapse.name}.codes"
    entry, shape = entries[name], tuple(entries[name]["shape"])
    if shape != tuple(module.weight.shape):  # pyright: ignore
        raise ValueError(f"{name} has shape {shape}")
    count = int(np.prod(shape))
    if arrays[name].nbytes != code_bytes(count, entry["bits"]):
        raise ValueError(f"{name} has {arrays[name].nbytes} bytes")
    codes = unpack_bits(arrays[name], entry["bits"], count).reshape(shape)
    return QuantisedSynapse(
        torch.from_numpy(codes),
        vectors["scale"],
        vectors["bias"],
        bits=entry["bits"],
        grid=entry["input_grid"],
        padding=module.margin if isinstance(module, Conv) else None,
        max_input=entry["input_limit"],
    )


def _vectors(synapse: Synapse, entries: dict[str, Any], arrays: _Arrays) -> dict[str, Tensor]:
    name = f"{synapse.name}.affine"
    if name not in entries:
        return {}
    stacked = _shaped(arrays[name], entries[name]["shape"])
    return dict(zip(entries[name]["rows"], stacked.unbind(), strict=True))


def _shaped(array: NDArray[Any], shape: list[int]) -> Tensor:
    count = int(np.prod(shape))
    return torch.from_numpy(array[:count].copy()).reshape(shape)


def _set_neurons(network: Network, manifest: dict[str, Any], arrays: _Arrays) -> None:
    shape = manifest["tensors"][NEURONS_TENSOR]["shape"]
    constants = _shaped(arrays[NEURONS_TENSOR], shape).tolist()
    for name, (tau, threshold) in zip(manifest["neurons"]["layers"], constants, strict=True):
        neuron: Any = network.get_submodule(name)
        neuron.tau, neuron.v_threshold = tau, threshold
