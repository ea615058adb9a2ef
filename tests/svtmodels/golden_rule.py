"""Weights and inputs of the golden folders, made from their rule instead of stored.

A golden folder holds what the official code answered for a small network: `config.json`,
`keys.json` (shape, kind and checksum of every weight), `rates.json` (mean output of every neuron
layer) and `outputs.safetensors`. Its weights and inputs follow from seeds: every value is a float64
expression of ``torch.rand`` and rounded to float32 once, in the order written below.

``python tests/svtmodels/golden_rule.py FOLDER…`` reduces complete golden folders (with
`io.safetensors` and `neurons.json`) to the small ones in `FIXTURES`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from spikefront.svtmodels import Network, build_official

FIXTURES = Path(__file__).parents[1] / "fixtures" / "golden"
COMPLETE = Path(__file__).parents[3] / "shared" / "golden"
"""Where complete golden folders lie, if they are at hand: they hold activations as well."""

_PIXELS = {
    "cifar": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
_Rule = Mapping[str, Any]


@dataclass(frozen=True)
class Golden:
    """One golden folder."""

    folder: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        return json.loads((self.folder / "config.json").read_text())

    @cached_property
    def keys(self) -> dict[str, dict[str, Any]]:
        return json.loads((self.folder / "keys.json").read_text())

    @cached_property
    def rates(self) -> dict[str, float]:
        return json.loads((self.folder / "rates.json").read_text())

    @cached_property
    def outputs(self) -> dict[str, Tensor]:
        return load_file(self.folder / "outputs.safetensors")

    @property
    def leaks(self) -> bool:
        """Whether the official logits depend on what else is in the batch."""
        return self.config["max_abs_diff_batch_vs_single"] > 1e-9

    @property
    def published(self) -> dict[str, Any]:
        """Arguments, besides the official ones, that give what was published, leaks and all."""
        return {"proj_lif_over": "TB"} if self.leaks else {}

    def state(self) -> dict[str, Tensor]:
        """Official state dict."""
        shapes = {key: tuple(entry["shape"]) for key, entry in self.keys.items()}
        return make_state(shapes, self.config["weight_rule"], self.config["weight_rule_defaults"])

    def input(self) -> Tensor:
        """Input batch, float32."""
        return make_input(**self.config["input"])

    def network(self, dtype: torch.dtype = torch.float64, **known: Any) -> Network:
        """Our network with the official weights, loaded strictly, in eval mode."""
        arguments = {**self.config["constructor_args"], **known}
        network = build_official(self.config["architecture"], arguments)
        network.load_state_dict(self.state(), strict=True)
        return network.eval().to(dtype)


def goldens() -> list[Golden]:
    """All golden folders among the fixtures."""
    return [Golden(path.parent) for path in sorted(FIXTURES.glob("*/config.json"))]


def make_state(
    shapes: Mapping[str, tuple[int, ...]], rule: _Rule, defaults: _Rule
) -> dict[str, Tensor]:
    """A state dict of the given keys and shapes."""
    return {
        key: _make(key, kind_of(key, shapes), shape, _parameters(key, rule, defaults))
        for key, shape in shapes.items()
    }


def kind_of(key: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What a key is, from its name, its shape and its siblings."""
    prefix, _, leaf = key.rpartition(".")
    if leaf == "num_batches_tracked":
        return "nbt"
    if leaf.startswith("layer_scale"):
        return "layer_scale"
    if f"{prefix}.running_mean" in shapes:
        return {"running_mean": "bn_mean", "running_var": "bn_var"}.get(leaf, f"bn_{leaf}")
    if leaf == "weight":
        return "weight" if len(shapes[key]) > 1 else "ln_weight"
    return "bias" if leaf == "bias" else "other"


def make_input(kind: str, shape: list[int], seed: int) -> Tensor:
    """Normalised images [B, 3, H, W] or event counts [B, T, 2, H, W], float32."""
    u = _uniform(math.prod(shape), seed).reshape(shape)
    if kind == "dvs":
        return ((u - 0.7) / 0.1).floor().add(1).clamp_min(0).float()
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in _PIXELS[kind])
    return ((u - mean) / std).float()


def checksum(value: Tensor) -> str:
    """First 16 hex digits of sha256 over the little-endian bytes."""
    return hashlib.sha256(value.numpy().tobytes()).hexdigest()[:16]


def reduce(source: Path) -> None:
    """Make a fixture of a complete golden folder."""
    target = FIXTURES / source.name
    target.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "keys.json"):
        shutil.copyfile(source / name, target / name)
    neurons = json.loads((source / "neurons.json").read_text())
    rates = {name: entry["mean"] for name, entry in neurons["rates"].items()}
    (target / "rates.json").write_text(json.dumps(rates, indent=1) + "\n")
    io = load_file(source / "io.safetensors")
    outputs = {name: tensor for name, tensor in io.items() if name != "input"}
    save_file(outputs, target / "outputs.safetensors")


def _uniform(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, generator=generator, dtype=torch.float32).double()


def _parameters(key: str, rule: _Rule, defaults: _Rule) -> dict[str, Any]:
    base = {**defaults, **rule}
    for pattern, changed in rule.get("overrides") or ():
        if re.search(pattern, key):
            base |= changed
    return base


def _make(key: str, kind: str, shape: tuple[int, ...], p: _Rule) -> Tensor:
    if kind == "nbt":
        return torch.zeros(shape, dtype=torch.int64)
    u = _uniform(math.prod(shape), zlib.crc32(key.encode())).reshape(shape)
    s = 2 * u - 1
    fan_in = math.prod(shape[1:])
    values: dict[str, Callable[[], Tensor]] = {
        "weight": lambda: s * (math.sqrt(3.0) * p["gain"] / math.sqrt(fan_in)),
        "bias": lambda: s * p["lin_b"],
        "ln_weight": lambda: 1 + 0.1 * s,
        "bn_mean": lambda: s * (math.sqrt(3.0) * p["mean_std"]),
        "bn_var": lambda: _between(u, p["var"]),
        "bn_weight": lambda: _between(u, p["bn_w"]),
        "bn_bias": lambda: p["bn_b"][0] + s * p["bn_b"][1],
        "layer_scale": lambda: _between(u, p["scale"]),
        "other": lambda: s * p["other"],
    }
    return values[kind]().float()


def _between(u: Tensor, bounds: list[float]) -> Tensor:
    low, high = bounds
    return low + (high - low) * u


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        reduce(Path(argument))
