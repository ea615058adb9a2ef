"""Loads a packed folder; nothing in it is ever executed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load
from torch import Tensor, nn

from ...spaces.candidate import Candidate
from ...spaces.errors import BadInput, CorruptFile
from ...spaces.site import INTEGER_BITS, WIDTH_KINDS, SiteKind
from ...spaces.surgery import ALLOWED, DEFAULT
from ..build import Build
from ..declaration import Synapse
from ..network import Network
from ..official import build_official
from ..parts.synapse import (
    ChannelAffine,
    CompositeSynapse,
    QuantisedSynapse,
    merged_synapse,
    shape_of,
    window_of,
)
from ..parts.token_rule import TokenRule
from ..surgery.fixed_point import FIXED
from .arithmetic import restore_arithmetic
from .neurons import restore_neurons
from .vectors import floats, unpack_vectors
from .weights import unpack_weight, weight_name
from .writer import FORMAT, GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE, NEURONS_TENSOR, SCHEMA

_Arrays = dict[str, NDArray[Any]]
_MISFITS = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError)


def load_packed(folder: Path | str) -> Network:
    """Network of a packed folder, in eval mode; its logits are bit for bit those that were saved.

    Raises:
        BadInput: no such folder, or another version of the format.
        CorruptFile: a file is missing, truncated or altered.
    """
    manifest, arrays = read_packed(folder)
    try:
        with torch.device("meta"):
            build = Build(
                manifest["widths"], manifest["kept_tokens"], _token_rule(manifest), idle=False
            )
            network = build_official(manifest["architecture"], manifest["arguments"], build)
        _describe(network, manifest)
        for synapse in network.declaration.synapses:
            _fill(network, synapse, manifest["tensors"], arrays)
        for path in (scale.path for scale in network.declaration.scales):
            _fill_scale(network, path, manifest["tensors"], arrays)
        _set_neurons(network, manifest, arrays)
        if "arithmetic" in manifest:
            restore_arithmetic(network, manifest["arithmetic"])
    except _MISFITS as error:
        raise CorruptFile(f"{folder}: manifest and tensors do not fit ({error!r}).") from error
    return network.eval()


def _token_rule(manifest: dict[str, Any]) -> TokenRule:
    """How tokens are chosen."""
    try:
        return TokenRule.from_dict(manifest["token_rule"])
    except BadInput as error:
        raise CorruptFile(f"the manifest's {error}") from None


def read_packed(folder: Path | str) -> tuple[dict[str, Any], _Arrays]:
    """Manifest and arrays of a packed folder, checked against their checksums.

    Raises:
        BadInput: no such folder, or another version of the format.
        CorruptFile: a file is missing, truncated or altered.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    return manifest, _checked(folder, MODEL_FILE, manifest)


def read_golden(folder: Path | str) -> _Arrays:
    """Golden vectors of a packed folder: ``inputs``, ``logits``, ``spikes``.

    Raises:
        BadInput: no such folder, or another version of the format.
        CorruptFile: a file is missing, truncated or altered.
    """
    folder = Path(folder)
    return _checked(folder, GOLDEN_FILE, read_manifest(folder))


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """Manifest of a packed folder.

    Raises:
        BadInput: no such folder, or another version of the format.
        CorruptFile: no manifest of ours.
    """
    path = Path(folder) / MANIFEST_FILE
    if not path.is_file():
        raise BadInput(f"{folder} is no packed folder: it holds no {MANIFEST_FILE}.")
    try:
        manifest = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{path} is not JSON: {error}.") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CorruptFile(f"{path} is not a manifest of the format {FORMAT!r}.")
    if manifest.get("schema") != SCHEMA:
        raise BadInput(
            f"{path} has schema {manifest.get('schema')}; this version reads {SCHEMA}. Pack the "
            "model anew, or read it with the version that wrote it."
        )
    return manifest


def _checked(folder: Path, name: str, manifest: dict[str, Any]) -> _Arrays:
    path = folder / name
    if not path.is_file():
        raise CorruptFile(f"{path} is missing.")
    data = path.read_bytes()
    sums = manifest.get("sha256")
    if not isinstance(sums, dict) or hashlib.sha256(data).hexdigest() != sums.get(name):
        raise CorruptFile(f"{path} was truncated or altered: its checksum differs.")
    try:
        return load(data)
    except (SafetensorError, *_MISFITS) as error:
        raise CorruptFile(f"{path}: {error}.") from None


def _describe(network: Network, manifest: dict[str, Any]) -> None:
    steps = manifest["time_steps"]
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"time_steps is {steps!r}")
    network.time_steps = steps
    try:
        network.candidate = Candidate.from_dict(manifest["candidate"], network.sites)
    except BadInput as error:
        raise CorruptFile(f"the manifest's {error}") from None
    chosen = network.candidate.to_dict()
    widths = {name: n for kind in WIDTH_KINDS for name, n in chosen.get(kind, {}).items()}
    if (widths, chosen.get("token", {})) != (network.widths, network.kept_tokens):
        raise ValueError("widths and kept tokens are not those of the candidate")
    network.kept_channels = {
        name: torch.tensor(kept) for name, kept in manifest["kept_channels"].items()
    }
    if "arithmetic" in manifest:
        network.arithmetic = FIXED  # Which the neurons' description depends on.
    network.vectors = manifest.get("vectors", DEFAULT.vectors)
    if network.vectors not in ALLOWED["vectors"]:
        raise ValueError(f"vectors are {network.vectors!r}")
    if network.vectors != DEFAULT.vectors and network.arithmetic == FIXED:
        raise ValueError(f"fixed point has no {network.vectors} vectors")
    network.card = manifest["record"]


def _fill(
    network: Network,
    synapse: Synapse,
    entries: dict[str, Any],
    arrays: _Arrays,
    bits: int | None = None,
) -> None:
    """Fill in a synapse; `bits` of the chain that it is a link of, if it is one."""
    module = network.get_submodule(synapse.weight)
    bits = network.weight_bits(synapse.name) if bits is None else bits
    dtype = network.vectors if bits in INTEGER_BITS else DEFAULT.vectors
    vectors = unpack_vectors(synapse.name, entries, arrays, shape_of(module)[0], dtype)
    pruned = synapse.name in network.candidate.to_dict().get(SiteKind.DENSITY, {})
    if isinstance(module, CompositeSynapse) and bits not in INTEGER_BITS and not pruned:
        for link in synapse.links:
            _fill(network, link, entries, arrays, bits)
    else:
        values, kept = unpack_weight(synapse.name, bits, pruned, entries, arrays)
        if values.shape != shape_of(module):
            raise ValueError(f"{synapse.name} has shape {values.shape}")
        if kept is not None:
            network.kept_numbers[synapse.name] = kept
        weight = torch.from_numpy(values)
        if bits in INTEGER_BITS:
            entry = entries[weight_name(synapse.name, bits)]
            _set_codes(network, synapse, weight, bits, entry, vectors)
            return
        _set_floats(network, synapse, weight, vectors)
    if synapse.norm is not None:
        network.set_submodule(synapse.norm, ChannelAffine(vectors["scale"], vectors["bias"]))


def _set_floats(
    network: Network, synapse: Synapse, weight: Tensor, vectors: dict[str, Tensor]
) -> None:
    module = network.get_submodule(synapse.weight)
    if isinstance(module, CompositeSynapse):
        merged = merged_synapse(module, weight, vectors["synapse_bias"])
        network.set_submodule(synapse.weight, merged)
        return
    module.weight = nn.Parameter(weight)
    if module.bias is not None:
        module.bias = nn.Parameter(vectors["synapse_bias"])


def _set_codes(
    network: Network,
    synapse: Synapse,
    codes: Tensor,
    bits: int,
    entry: dict[str, Any],
    vectors: dict[str, Tensor],
) -> None:
    if entry["input_grid"] < 1:
        raise ValueError(f"{synapse.name} has inputs on a grid of {entry['input_grid']}")
    quantised = QuantisedSynapse(
        codes,
        vectors["scale"],
        vectors["bias"],
        bits=bits,
        grid=entry["input_grid"],
        max_input=entry["input_limit"],
        **window_of(network.get_submodule(synapse.weight)),
    )
    network.set_submodule(synapse.weight, quantised)
    if synapse.norm is not None:
        network.set_submodule(synapse.norm, nn.Identity())


def _fill_scale(network: Network, path: str, entries: dict[str, Any], arrays: _Arrays) -> None:
    scale = floats(arrays[path], entries[path]["shape"])
    if scale.shape != network.get_parameter(path).shape:
        raise ValueError(f"{path} has shape {tuple(scale.shape)}")
    owner, _, name = path.rpartition(".")
    setattr(network.get_submodule(owner), name, nn.Parameter(scale))


def _set_neurons(network: Network, manifest: dict[str, Any], arrays: _Arrays) -> None:
    shape = manifest["tensors"][NEURONS_TENSOR]["shape"]
    constants = floats(arrays[NEURONS_TENSOR], shape).tolist()
    restore_neurons(network, manifest["neurons"], constants)
