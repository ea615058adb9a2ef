"""Networks, data and blueprints that are small enough to evaluate within a test."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_files import write_images
from torch import Tensor

from spikefront.evaluators.blueprint import Blueprint
from spikefront.evaluators.data import (
    ImageData,
    Preprocessing,
    Splits,
    digits_splits,
    held_out_digest,
    load_splits,
)
from spikefront.evaluators.evaluator import EvaluationSettings
from spikefront.spaces import MAGNITUDE, Candidate
from spikefront.svtmodels import build_official
from spikefront.svtmodels.checkpoint import load_checkpoint, save_checkpoint
from spikefront.svtmodels.network import Network
from spikefront.svtmodels.parts.synapse import ChannelNorm
from spikefront.svtmodels.zoo import zoo_path

# More threads than cores make a busy machine crawl.
torch.set_num_threads(1)

PLAIN: dict[str, Any] = {"surgery": MAGNITUDE}
"""Settings that make an evaluator's candidates those of `compress` alone."""

N_CALIBRATION, N_SEARCH, N_TEST = 24, 60, 40
GATE_IMAGES = 16

TINY: dict[str, Any] = {
    "img_size_h": 16,
    "img_size_w": 16,
    "in_channels": 1,
    "num_classes": 3,
    "embed_dims": 16,
    "num_heads": 2,
    "mlp_ratios": 2,
    "depths": 2,
    "T": 3,
}
"""Spikformer of 16 tokens, 3 steps and 2 blocks."""


@cache
def digits_network() -> Network:
    """The trained network of the zoo; nobody may change it."""
    return load_checkpoint(zoo_path("spikformer-digits"))


@cache
def few_digits() -> Splits:
    """Slices of the digits' held-out splits, in which the network of the zoo errs twice, once."""
    full = digits_splits()
    return Splits(
        full.train.take(()),
        full.calibration.take(range(N_CALIBRATION)),
        full.search.take(range(330, 330 + N_SEARCH)),
        full.test.take(range(N_TEST)),
        "a few digits",
    )


@cache
def digits_blueprint() -> Blueprint:
    """Blueprint over `few_digits` without any limit; candidates are what `compress` makes."""
    settings = EvaluationSettings(batch_size=20, gate_images=GATE_IMAGES, **PLAIN)
    preprocessing = Preprocessing.preset("digits")
    return Blueprint.prepare(digits_network(), few_digits(), preprocessing, settings)


def with_settings(blueprint: Blueprint, **changes: Any) -> Blueprint:
    """The same blueprint with other `EvaluationSettings`."""
    return replace(blueprint, settings=replace(blueprint.settings, **changes))


def chosen(network: Network, **levels: float) -> Candidate:
    """Candidate with one level per kind, the same at all of its sites."""
    sites = [site for site in network.sites if site.kind.value in levels]
    return Candidate.of({site: site.value_at(levels[site.kind.value]) for site in sites})


def lively(network: Network, seed: int = 0) -> Network:
    """Give an untrained network batch norms that make its neurons fire; eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, ChannelNorm):
            module.momentum = 1.0
            module.weight.data.uniform_(0.8, 2.0, generator=generator)
            module.bias.data.uniform_(0.2, 1.4, generator=generator)
    network.train()
    with torch.no_grad():
        network(torch.randn(8, *network.input_shape, generator=generator))
    return network.eval()


def tiny_network(seed: int = 0, **arguments: Any) -> Network:
    """Lively Spikformer of `TINY`, with other arguments where named."""
    torch.manual_seed(seed)
    return lively(build_official("spikformer_cifar10", {**TINY, **arguments}), seed)


def noise(count: int, network: Network, seed: int = 1) -> Tensor:
    """Random inputs [count, ...] of a network."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *network.input_shape, generator=generator)


def image_data(count: int, network: Network, seed: int = 0) -> ImageData:
    """Random images that fit a network, labelled in turn."""
    source = np.random.default_rng(seed)
    images = source.integers(0, 256, (count, *network.input_shape), dtype=np.uint8)
    classes = tuple(str(number) for number in range(network.classes))
    return ImageData(images, np.arange(count) % network.classes, classes, "noise")


def write_grey(path: Path, count: int, network: Network, seed: int) -> Path:
    """Parquet file of random images that fit a network."""
    classes = [str(number) for number in range(network.classes)]
    images = image_data(count, network, seed).images.astype(np.uint8)
    return write_images(path, images, len(classes), classes)


def parquet_model(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Checkpoint of a tiny network in a folder, and the settings of the data that it names."""
    network = tiny_network()
    data = {
        "name": "parquet",
        "train": str(write_grey(folder / "train.parquet", 40, network, 1)),
        "test": str(write_grey(folder / "test.parquet", 12, network, 2)),
        "calibration": 8,
        "search": 20,
        "channels": 1,
    }
    card = {
        "data": data,
        "preprocessing": {"mean": [0.5], "std": [0.25]},
        "held_out": held_out_digest(load_splits(data)),
    }
    path = folder / "tiny.safetensors"
    save_checkpoint(network, path, card)
    return path, data


def hooks(network: torch.nn.Module) -> int:
    """Number of forward hooks anywhere in a network."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())
