"""A training run as a whole: data, network, recipe, and the checkpoint that it leaves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from ...spaces.errors import BadInput, RunFailed, unknown_name
from ...svtmodels.checkpoint import load_checkpoint, save_checkpoint
from ...svtmodels.network import Network
from ...svtmodels.official import build_official
from ...svtmodels.parts.kernels import neuron_backend
from ...svtmodels.transfer import with_classes
from ..accuracy import accuracy
from ..data.preprocessing import Preprocessing
from ..data.settings import load_splits, load_stream
from ..data.splits import Splits, held_out_digest
from ..engines import PLAIN
from ..preparation import check_shape
from ..runner import Runner
from .loop import TrainingResult, train_run
from .recipe import Recipe
from .run import Progress, TrainingRun

_FIELDS = ("network", "data", "preprocessing", "recipe", "seed", "device", "weights", "output")
_NETWORK_FIELDS = ("architecture", "arguments", "checkpoint")
_WEIGHTS = {"float32": torch.float32, "float16": torch.float16}
_DEVICES = ("auto", "cpu", "cuda")
_LARGEST_HALF = torch.finfo(torch.float16).max


@dataclass(frozen=True)
class TrainingJob:
    """What `spikefront train` runs.

    Attributes:
        architecture: official name; None where a checkpoint is trained on.
        arguments: official constructor arguments; `num_classes` and `in_channels` follow the data
            where they are not given. With a checkpoint: what it cannot tell.
        checkpoint: a trained network to start from; its classifier is replaced where the data
            have another number of classes.
        data: settings of the data.
        preprocessing: name of a preset, ``measure``, or ``{mean, std}``; None takes that of the
            checkpoint, if it says so, else measures.
        recipe: how.
        seed: of initial weights, order and augmentation.
        device: ``cpu``, ``cuda``, or ``auto``: a GPU if there is one.
        weights: how weights are stored, ``float32`` or ``float16``.
        output: path of the checkpoint, `.safetensors`.
    """

    architecture: str | None
    arguments: Mapping[str, Any]
    checkpoint: str | None
    data: Mapping[str, Any]
    preprocessing: str | Mapping[str, Any] | None
    recipe: Recipe
    seed: int
    device: str
    weights: str
    output: Path

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Job from a parsed config.

        Raises:
            BadInput: unknown, missing or wrongly typed fields.
        """
        _check_names("field of a training config", values, _FIELDS)
        network = _mapping(values, "network")
        _check_names("field of network", network, _NETWORK_FIELDS)
        architecture, checkpoint = network.get("architecture"), network.get("checkpoint")
        if not isinstance(architecture, str) and not isinstance(checkpoint, str):
            raise BadInput(
                "network.architecture is missing; name one, e.g. spikformer_cifar10, or give "
                "network.checkpoint."
            )
        if architecture is not None and checkpoint is not None:
            raise BadInput("network names an architecture and a checkpoint; give one of them.")
        output = values.get("output")
        if not isinstance(output, str) or not output.endswith(".safetensors"):
            raise BadInput(f"output is {output!r}; give a path that ends in .safetensors.")
        seed = values.get("seed", 0)
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise BadInput(f"seed is {seed!r}; give a whole number.")
        preprocessing = values.get("preprocessing")
        if not isinstance(preprocessing, str | Mapping | None):
            raise BadInput(
                f"preprocessing is {preprocessing!r}; give measure, a preset or {{mean, std}}."
            )
        return cls(
            architecture,
            _mapping(network, "arguments"),
            checkpoint,
            _mapping(values, "data") or {"name": "digits"},
            preprocessing,
            Recipe.from_dict(_mapping(values, "recipe")),
            seed,
            _choice(values, "device", "auto", _DEVICES),
            _choice(values, "weights", "float32", tuple(_WEIGHTS)),
            Path(output),
        )

    @property
    def state_file(self) -> Path:
        """Where the run's state lies until the checkpoint is written."""
        return self.output.with_suffix(".state.pt")

    def run(
        self,
        report: Callable[[Progress], None] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Train and write the checkpoint; go on where a killed run of the same config stopped.

        Args:
            report: called after every epoch, those of a former run included.
            note: told what the run found: device and neuron.

        Returns:
            The checkpoint's card; accuracies are those of the stored weights.

        Raises:
            BadInput: the data has no training images, the network cannot be built, or a state of
                another training lies where this one would keep its own.
            RunFailed: the loss became NaN or infinite, or a weight does not fit in float16.
        """
        device = self._device()
        splits = load_splits(self.data)
        data = load_stream(self.data) or splits.train
        if not len(data):
            raise BadInput("these data settings name no training images; give `train`.")
        torch.manual_seed(self.seed)
        network = self._network(splits)
        # A network of events would otherwise train on the first T of more frames.
        check_shape(network, splits)
        preprocessing = self._preprocessing(splits, network)
        if note is not None:
            note(f"device {device.type}, neurons: {neuron_backend(device.type)}")
        run = TrainingRun(network.to(device), self.recipe, self.seed)
        identity = self._identity(splits)
        run.restore(self.state_file, identity)
        tell = report or (lambda _: None)
        for progress in run.curve:
            tell(progress)

        def after_epoch(progress: Progress) -> None:
            run.save(self.state_file, identity)
            tell(progress)

        result = train_run(run, data, splits.search, preprocessing, self.seed, after_epoch)
        _round(network, self.weights)
        card = self._card(network, splits, preprocessing, result)
        save_checkpoint(network, self.output, card, _WEIGHTS[self.weights])
        self.state_file.unlink(missing_ok=True)
        return card

    def _device(self) -> torch.device:
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise BadInput("device is cuda, but torch finds no GPU here; give auto or cpu.")
        return torch.device("cuda" if available and self.device != "cpu" else "cpu")

    def _preprocessing(self, splits: Splits, network: Network) -> Preprocessing:
        wanted = self.preprocessing or network.card.get("preprocessing", "measure")
        if wanted == "measure":
            # A stream is too long to measure; the calibration images are a sample of it.
            return Preprocessing.measure(splits.train if len(splits.train) else splits.calibration)
        if isinstance(wanted, str):
            return Preprocessing.preset(wanted)
        return Preprocessing.from_dict(wanted)

    def _network(self, splits: Splits) -> Network:
        classes = len(splits.search.classes)
        if self.checkpoint is not None:
            trained = load_checkpoint(self.checkpoint, **self.arguments)
            network = with_classes(trained, classes)
            network.card = trained.card
            return network
        assert self.architecture is not None
        *steps, channels, height, width = splits.search.images.shape[1:]
        fitting = {
            **({"T": steps[0]} if steps else {}),
            "in_channels": channels,
            "num_classes": classes,
            "img_size_h": height,
            "img_size_w": width,
        }
        return build_official(self.architecture, {**fitting, **self.arguments})

    def _identity(self, splits: Splits) -> str:
        """Content key of all that decides over the trained weights."""
        start = self.checkpoint and hashlib.sha256(Path(self.checkpoint).read_bytes()).hexdigest()
        parts = {
            "network": [self.architecture, dict(self.arguments), start],
            "data": [dict(self.data), held_out_digest(splits)],
            "preprocessing": self.preprocessing,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def _card(
        self,
        network: Network,
        splits: Splits,
        preprocessing: Preprocessing,
        result: TrainingResult,
    ) -> dict[str, Any]:
        runner = Runner(network, PLAIN)
        return {
            "preprocessing": preprocessing.to_dict(),
            "classes": list(splits.search.classes),
            "data": dict(self.data),
            "held_out": held_out_digest(splits),
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "started_from": self.checkpoint and Path(self.checkpoint).name,
            "weights": self.weights,
            "accuracy_search": accuracy(runner, splits.search, preprocessing),
            "accuracy_test": accuracy(runner, splits.test, preprocessing),
            "n_test": len(splits.test),
            "curve": [[p.epoch, round(p.loss, 5), p.accuracy] for p in result.curve],
        }


def _round(network: Network, weights: str) -> None:
    """Round to what will be stored, so that accuracies are those of the file."""
    dtype = _WEIGHTS[weights]
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if dtype is torch.float16 and tensor.abs().max() > _LARGEST_HALF:
            raise RunFailed(f"{name} exceeds {_LARGEST_HALF}; store the weights as float32.")
        tensor.copy_(tensor.to(dtype))


def _check_names(what: str, values: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for name in values:
        if name not in allowed:
            raise unknown_name(what, str(name), allowed)


def _choice(values: Mapping[str, Any], name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = values.get(name, default)
    if value not in allowed:
        raise unknown_name(name, str(value), allowed)
    return value


def _mapping(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = values.get(name) or {}
    if not isinstance(value, Mapping):
        raise BadInput(f"{name} is {value!r}; give a mapping.")
    return dict(value)
