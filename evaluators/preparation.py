"""From the names in a config to a blueprint: network, data and settings put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..spaces.candidate import Candidate
from ..spaces.errors import BadInput
from ..spaces.space import Granularity, Space
from ..spaces.surgery import SurgeryOptions
from ..svtmodels.checkpoint import load_checkpoint
from ..svtmodels.costs import parent_bytes, static_costs
from ..svtmodels.network import Network
from ..svtmodels.surgery.moments import without_moments
from ..svtmodels.surgery.prepared import PreparedSurgery
from ..svtmodels.zoo import zoo_path
from .blueprint import Blueprint
from .data.preprocessing import Preprocessing
from .data.settings import load_splits
from .data.splits import Splits, held_out_digest
from .evaluator import EvaluationSettings, static_measures
from .runner import available_engine, plain_note

_PREPROCESSING = "preprocessing"


@dataclass(frozen=True)
class TrainedModel:
    """The network that a search starts from.

    Attributes:
        name: for reports.
        network: in eval mode.
    """

    name: str
    network: Network

    @classmethod
    def load(
        cls, checkpoint: str | None, zoo: str | None, known: Mapping[str, Any]
    ) -> TrainedModel:
        """Network of a checkpoint or of the zoo; exactly one is given.

        Raises:
            BadInput: no such file or name, or weights that do not fit.
        """
        path = zoo_path(zoo) if zoo is not None else Path(checkpoint or "")
        return cls(zoo or path.stem, load_checkpoint(path, **known))

    @property
    def bytes(self) -> int:
        """Reference of `bytes_ratio`."""
        return parent_bytes(self.network)

    def spaces(
        self,
        granularity: Granularity,
        levels: Mapping[Any, Any],
        *,
        minimum_width: int = 1,
        width_multiple: int = 1,
    ) -> list[Space]:
        """The searched axes at all granularities up to the given one, coarse to fine.

        Arguments as those of `Network.space`.
        """
        order = list(Granularity)
        chosen = order[: order.index(granularity) + 1]
        return [
            self.network.space(
                each, levels, minimum_width=minimum_width, width_multiple=width_multiple
            )
            for each in chosen
        ]

    def pricer(self, options: SurgeryOptions) -> Callable[[Candidate], dict[str, float]]:
        """Static measures of candidates, from the trained network alone.

        Args:
            options: of surgery; they say what choosing tokens costs. Where one threshold serves
                the densities of all matrices, what stays is known in sum only.
        """
        prepared = PreparedSurgery(self.network, options)
        parent = self.bytes

        def price(candidate: Candidate) -> dict[str, float]:
            return static_measures(static_costs(self.network, candidate, prepared), parent)

        return price


def prepare(
    model: TrainedModel,
    data: Mapping[str, Any],
    settings: EvaluationSettings,
    seed: int,
    *,
    paper_split: bool = False,
) -> tuple[Blueprint, list[str]]:
    """Blueprint of a search, and what its user should know about the data.

    Args:
        model: the trained network.
        data: settings of the data; `preprocessing` (a preset's name, or mean and std) is needed
            for a foreign checkpoint only, ours carry it.
        settings: of the evaluation.
        seed: of the order of the search images and of the sampled traces.
        paper_split: whether the test images are searched on, too.

    Raises:
        BadInput: data that cannot be read or does not fit the network, or that the network was
            trained on.
    """
    options = dict(data)
    preprocessing = preprocessing_of(model.network, options.pop(_PREPROCESSING, None))
    splits = load_splits(options, with_train=False)
    _check_fit(model.network, splits)
    if paper_split:
        splits = splits.on_test()
        notes = [splits.declared]
    else:
        notes = [splits.declared, _held_out_note(model.network, splits)]
    engine, missing = available_engine(settings.engine)
    settings = replace(settings, engine=engine)
    notes += [note for note in (missing, plain_note(model.network, engine)) if note is not None]
    blueprint = Blueprint.prepare(model.network, splits, preprocessing, settings, seed)
    left = without_moments(model.network, blueprint.moments)
    if settings.surgery.second_order and left:
        notes.append(
            f"{len(left)} depthwise or very wide synapses are judged by magnitude: {_few(left)}."
        )
    return blueprint, notes


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")


def preprocessing_of(network: Network, given: Any) -> Preprocessing:
    """Preprocessing that is given (a name, or mean and std), else the one on the card.

    Raises:
        BadInput: neither is there.
    """
    if isinstance(given, str):
        return Preprocessing.preset(given)
    if isinstance(given, Mapping):
        return Preprocessing.from_dict(given)
    if given is not None:
        raise BadInput(f"data.preprocessing is {given!r}; give a preset or {{mean, std}}.")
    if _PREPROCESSING in network.card:
        return Preprocessing.from_dict(network.card[_PREPROCESSING])
    raise BadInput(
        "this checkpoint does not say how its images were normalised: give data.preprocessing, "
        "e.g. cifar10, imagenet, or {mean: […], std: […]}."
    )


def check_shape(network: Network, splits: Splits) -> None:
    """Refuse images, or frames of events, that are not of the network's size (BadInput)."""
    shape = tuple(splits.search.images.shape[1:])
    if shape != network.input_shape:
        raise BadInput(f"images of shape {shape}; the network takes {network.input_shape}.")


def _check_fit(network: Network, splits: Splits) -> None:
    check_shape(network, splits)
    classes = len(splits.search.classes)
    if classes != network.classes:
        raise BadInput(f"the data has {classes} classes; the network has {network.classes}.")


def _held_out_note(network: Network, splits: Splits) -> str:
    recorded = network.card.get("held_out")
    if recorded is None:
        return (
            "The checkpoint does not say what it was trained on: calibration and search images "
            "may have been among it, and accuracies on them may flatter."
        )
    if recorded != held_out_digest(splits):
        raise BadInput(
            "the calibration and search images are not those that were left out when this "
            "checkpoint was trained, so it may have seen them; use the data settings of its "
            f"training: {network.card.get('data')}."
        )
    return "The network was trained without the calibration and search images."
