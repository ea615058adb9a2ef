"""The state of a training run: everything that the next epoch depends on, and its file."""

from __future__ import annotations

import logging
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ...spaces.errors import BadInput, CorruptFile
from ...svtmodels.network import Network
from .recipe import Recipe

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """What one epoch came to."""

    epoch: int
    loss: float
    learning_rate: float
    accuracy: float
    seconds: float


class TrainingRun:
    """Network, optimiser, average, randomness and curve of a training.

    Args:
        network: float32; trained in place.
        recipe: how.
        seed: of order and augmentation.
    """

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        self.network = network
        self.recipe = recipe
        self.generator = torch.Generator().manual_seed(seed)
        self.optimiser = torch.optim.AdamW(_groups(network, recipe), lr=recipe.learning_rate)
        self.curve: list[Progress] = []
        self._average: AveragedModel | None = None
        if recipe.averaging:
            average = get_ema_multi_avg_fn(recipe.averaging)
            self._average = AveragedModel(network, multi_avg_fn=average, use_buffers=True)

    @property
    def kept(self) -> Network:
        """The network whose weights will be kept: the average where the recipe has one."""
        if self._average is None:
            return self.network
        averaged = self._average.module
        assert isinstance(averaged, Network)
        return averaged

    def step(self, loss: torch.Tensor) -> None:
        """One update of the weights, down the gradient of `loss`."""
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
        self.optimiser.step()
        if self._average is not None:
            self._average.update_parameters(self.network)

    def set_learning_rate(self, rate: float) -> None:
        """Learning rate of the next step."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def save(self, path: Path, identity: str) -> None:
        """Write the state after an epoch, whole or not at all; `identity` names the training."""
        state = {
            "identity": identity,
            "network": self.network.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "global_generator": torch.get_rng_state(),
            "curve": [asdict(progress) for progress in self.curve],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        torch.save(state, temporary)
        temporary.replace(path)

    def restore(self, path: Path, identity: str) -> None:
        """Go on from a state, if there is one.

        Raises:
            BadInput: the state is that of another training.
            CorruptFile: it cannot be read.
        """
        if not path.is_file():
            return
        state = _read(path)
        if state.get("identity") != identity:
            raise BadInput(
                f"{path} is the state of a training with another config; finish that one, delete "
                "the file, or give another output."
            )
        self.network.load_state_dict(state["network"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["global_generator"])
        self.curve = [Progress(**values) for values in state["curve"]]
        _log.warning("training goes on after epoch %d, from %s", len(self.curve), path)


def _read(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    # A damaged archive can fail in any layer of the reader.
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        # torch's own message advises to load the file unsafely.
        kind = type(error).__name__
        raise CorruptFile(
            f"{path}: no whole state of a training ({kind}); delete it to start anew."
        ) from None
    if not isinstance(state, dict):
        raise CorruptFile(f"{path} holds no state of a training; delete it to start anew.")
    return state


def _groups(network: Network, recipe: Recipe) -> list[dict[str, object]]:
    matrices = [p for p in network.parameters() if p.dim() > 1]
    vectors = [p for p in network.parameters() if p.dim() <= 1]
    return [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
