"""A training run as a whole: data, network, recipe, and the checkpoint that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from ...spaces.errors import BadInput, unknown_name
from ...svtmodels.checkpoint import save_checkpoint
from ...svtmodels.network import Network
from ...svtmodels.official import build_official
from ..accuracy import accuracy
from ..data.preprocessing import Preprocessing
from ..data.settings import load_splits
from ..data.splits import Splits, held_out_digest
from .loop import Progress, TrainingResult, train
from .recipe import Recipe

_FIELDS = ("network", "data", "preprocessing", "recipe", "seed", "output")


@dataclass(frozen=True)
class TrainingJob:
    """What `spikefront train` runs.

    Attributes:
        architecture: official name.
        arguments: official constructor arguments; `num_classes` and `in_channels` follow the data
            where they are not given.
        data: settings of the data.
        preprocessing: name of a preset, ``measure``, or ``{mean, std}``.
        recipe: how.
        seed: of initial weights, order and augmentation.
        output: path of the checkpoint, `.safetensors`.
    """

    architecture: str
    arguments: Mapping[str, Any]
    data: Mapping[str, Any]
    preprocessing: str | Mapping[str, Any]
    recipe: Recipe
    seed: int
    output: Path

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Job from a parsed config.

        Raises:
            BadInput: unknown, missing or wrongly typed fields.
        """
        for name in values:
            if name not in _FIELDS:
                raise unknown_name("field of a training config", str(name), _FIELDS)
        network = _mapping(values, "network")
        for name in network:
            if name not in ("architecture", "arguments"):
                raise unknown_name("field of network", str(name), ("architecture", "arguments"))
        if not isinstance(network.get("architecture"), str):
            raise BadInput("network.architecture is missing; name one, e.g. spikformer_cifar10.")
        output = values.get("output")
        if not isinstance(output, str) or not output.endswith(".safetensors"):
            raise BadInput(f"output is {output!r}; give a path that ends in .safetensors.")
        seed = values.get("seed", 0)
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise BadInput(f"seed is {seed!r}; give a whole number.")
        preprocessing = values.get("preprocessing", "measure")
        if not isinstance(preprocessing, str | Mapping):
            raise BadInput(
                f"preprocessing is {preprocessing!r}; give measure, a preset or {{mean, std}}."
            )
        return cls(
            network["architecture"],
            _mapping(network, "arguments"),
            _mapping(values, "data") or {"name": "digits"},
            preprocessing,
            Recipe.from_dict(_mapping(values, "recipe")),
            seed,
            Path(output),
        )

    def run(self, report: Callable[[Progress], None] | None = None) -> dict[str, Any]:
        """Train and write the checkpoint.

        Returns:
            The checkpoint's card; accuracies are those of the stored weights.

        Raises:
            BadInput: the data has no training images, or the network cannot be built.
            RunFailed: the loss became NaN or infinite.
        """
        splits = load_splits(self.data)
        if not len(splits.train):
            raise BadInput("these data settings name no training images; give `train`.")
        preprocessing = self._preprocessing(splits)
        torch.manual_seed(self.seed)
        network = self._network(splits)
        result = train(
            network,
            splits.train,
            splits.search,
            preprocessing,
            self.recipe,
            self.seed,
            report,
        )
        card = self._card(network, splits, preprocessing, result)
        save_checkpoint(network, self.output, card)
        return card

    def _preprocessing(self, splits: Splits) -> Preprocessing:
        if self.preprocessing == "measure":
            return Preprocessing.measure(splits.train)
        if isinstance(self.preprocessing, str):
            return Preprocessing.preset(self.preprocessing)
        return Preprocessing.from_dict(self.preprocessing)

    def _network(self, splits: Splits) -> Network:
        _, channels, height, width = splits.train.images.shape
        fitting = {
            "in_channels": channels,
            "num_classes": len(splits.train.classes),
            "img_size_h": height,
            "img_size_w": width,
        }
        return build_official(self.architecture, {**fitting, **self.arguments})

    def _card(
        self,
        network: Network,
        splits: Splits,
        preprocessing: Preprocessing,
        result: TrainingResult,
    ) -> dict[str, Any]:
        return {
            "preprocessing": preprocessing.to_dict(),
            "classes": list(splits.train.classes),
            "data": dict(self.data),
            "held_out": held_out_digest(splits),
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "accuracy_search": result.accuracy,
            "accuracy_test": accuracy(network, splits.test, preprocessing),
            "n_test": len(splits.test),
            "curve": [[p.epoch, round(p.loss, 5), p.accuracy] for p in result.curve],
        }


def _mapping(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = values.get(name) or {}
    if not isinstance(value, Mapping):
        raise BadInput(f"{name} is {value!r}; give a mapping.")
    return dict(value)
