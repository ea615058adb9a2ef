"""Trained networks on disk: our own checkpoints, and the official containers.

Our own are safetensors files whose header carries a card (architecture, arguments, preprocessing,
held-out data). Official ones are `.pth`, `.pt` and `.tar` files, read with `weights_only=True`:
nothing in them is ever executed.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..spaces.candidate import Candidate
from ..spaces.errors import BadInput, CorruptFile
from .network import Network, check_finite
from .official import build_official
from .recognise import recognise

CARD_KEY = "spikefront"
_SCHEMA = 1
_CONTAINERS = ("state_dict_ema", "state_dict", "model")
_PICKLED = frozenset({".pth", ".pt", ".tar"})
_LISTED = 8


def save_checkpoint(
    network: Network,
    path: Path | str,
    card: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights and card of a trained network as one file, whole or not at all.

    Args:
        network: an uncompressed one.
        path: `.safetensors`.
        card: JSON-ready facts beside architecture and arguments.
        dtype: of the stored weights; whole numbers stay what they are.

    Raises:
        BadInput: the network is a compressed one.
    """
    if network.candidate != Candidate():
        raise BadInput("a compressed network is no checkpoint; write it with save_packed.")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    full = {
        "schema": _SCHEMA,
        "architecture": network.architecture,
        "arguments": network.arguments,
        **card,
    }
    tensors = {
        name: (t.to(dtype) if t.is_floating_point() else t).cpu().contiguous()
        for name, t in network.state_dict().items()
    }
    temporary = path.with_name(path.name + ".tmp")
    save_file(tensors, temporary, {CARD_KEY: json.dumps(full, sort_keys=True)})
    temporary.replace(path)


def read_card(path: Path | str) -> dict[str, Any]:
    """Card of one of our own checkpoints; empty for any other file."""
    path = Path(path)
    if path.suffix != ".safetensors":
        return {}
    with _open_safetensors(path) as file:
        text = (file.metadata() or {}).get(CARD_KEY, "{}")
    try:
        card = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{path}: its card is not JSON ({error}).") from None
    if not isinstance(card, dict):
        raise CorruptFile(f"{path}: its card is a {type(card).__name__}; it must be an object.")
    return card


def load_checkpoint(path: Path | str, **known: Any) -> Network:
    """Trained network of a checkpoint, in eval mode, float32.

    Args:
        path: `.safetensors`, or an official `.pth`, `.pt`, `.tar`.
        known: what keys and shapes cannot tell (`num_heads`, `T`, …), or `architecture`; not
            needed for our own checkpoints.

    Raises:
        BadInput: missing, unexpected or wrongly shaped keys (all listed), NaN weights, something
            unknown that is not given (named, with the likely values).
        CorruptFile: the file is not what its name says.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"no checkpoint at {path}.")
    card, state = read_card(path), _read_state(path)
    if card.get("architecture"):
        architecture, arguments = card["architecture"], {**card.get("arguments", {}), **known}
    else:
        architecture, arguments = recognise(state, known)
    network = build_official(architecture, arguments)
    _load_strictly(network, state, path)
    network.card = card
    return network.eval()


def _load_strictly(network: Network, state: Mapping[str, Tensor], path: Path) -> None:
    expected = network.state_dict()
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    shaped = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    problems = [
        f"{what}: {_listed(names)}"
        for what, names in (
            ("missing keys", missing),
            ("unexpected keys", unexpected),
            ("wrong shapes", shaped),
        )
        if names
    ]
    if problems:
        raise BadInput(f"{path} does not fit {network.architecture}; " + "; ".join(problems) + ".")
    network.load_state_dict({n: t.to(expected[n].dtype) for n, t in state.items()})
    check_finite(network)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"


def _read_state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        with _open_safetensors(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if path.suffix in _PICKLED:
        return _unwrap(_read_pickled(path), path)
    allowed = ", ".join(sorted({".safetensors", *_PICKLED}))
    raise BadInput(f"{path}: unknown kind of checkpoint {path.suffix!r}; allowed: {allowed}.")


def _open_safetensors(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        hint = " It looks like a pickle; rename it to .pth to have it read safely."
        looks_pickled = path.is_file() and path.read_bytes()[:2].startswith((b"PK", b"\x80"))
        raise CorruptFile(
            f"{path} is not a safetensors file ({error}).{hint if looks_pickled else ''}"
        ) from None


def _read_pickled(path: Path) -> Any:
    try:
        # The official training scripts store their options, a plain record, beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise BadInput(
            f"{path} holds more than tensors, which could run code when loaded, or is damaged; it "
            "is refused. Save its state dict alone (torch.save(model.state_dict(), …)) or as "
            "safetensors."
        ) from None
    except Exception as error:  # A damaged pickle fails in any way: struct.error, IndexError, …
        reason = f"{type(error).__name__}: {error}"
        raise CorruptFile(f"{path} cannot be read as a torch checkpoint ({reason}).") from None


def _unwrap(loaded: Any, path: Path) -> dict[str, Tensor]:
    """State dict inside an official container, without the prefix of data-parallel training."""
    while isinstance(loaded, Mapping) and (inner := _inner(loaded)) is not None:
        loaded = inner
    if not isinstance(loaded, Mapping) or not loaded:
        raise BadInput(f"{path} holds {type(loaded).__name__}, not a state dict.")
    state = {str(k).removeprefix("module."): v for k, v in loaded.items()}
    strangers = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if strangers:
        raise BadInput(f"{path}: entries that are no tensors: {_listed(strangers)}.")
    return state


def _inner(loaded: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for name in _CONTAINERS:
        if isinstance(loaded.get(name), Mapping):
            return loaded[name]
    return None
